"""Reminder: when a subscription has matched nothing for two weeks, one notice tells its owner why."""

from datetime import date, timedelta

from sqlalchemy import Connection

from services.domain.subscriptions.criteria import compile_subscription
from services.domain.subscriptions.no_match_report import MAX_SILENCE, REPORT_WINDOW, report
from services.errors import QueryError
from services.ports import Embedder
from services.settings import Settings
from services.store.db.database import Database
from services.store.delivery import operator_notices
from services.store.papers import papers
from services.store.subscriptions import candidates, reminders
from services.store.subscriptions.records import Subscription

MAX_PAPERS = 3000
"""The newest papers that the report reads: enough to find the reason, and a minute's work at most."""


def work(db: Database, settings: Settings, embedder: Embedder) -> bool:
    """Notifies one owner; False if no reminder is due."""
    now = db.now()
    with db.transaction() as tx:
        row = reminders.next_due(tx, now)
        lines = _lines(tx, row, embedder, now.date()) if row is not None else []
    if row is None:
        return False
    subject = f"“{row.name}” has matched nothing for {MAX_SILENCE.days} days"
    host = settings.host
    with db.transaction() as tx:
        if reminders.mark_reminded(tx, row.id, now):
            operator_notices.send(tx, row.account_id, f"quiet:{row.id}:{now:%Y-%m-%d}", subject, host, lines)
    return True


def _lines(tx: Connection, row: Subscription, embedder: Embedder, today: date) -> list[str]:
    if row.error:
        return [row.error]
    try:
        subscription = compile_subscription(row)
    except QueryError as error:
        return [f"Its query no longer compiles: {error}"]
    if subscription is None:
        return ["Its interest waits for the embedder."]
    newest = papers.between(tx, today - REPORT_WINDOW, today)[:MAX_PAPERS]
    days = REPORT_WINDOW // timedelta(days=1)
    return report(subscription, candidates.of_papers(tx, newest, row.model), days)
