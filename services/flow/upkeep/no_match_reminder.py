"""Remind: the owner of a subscription that has matched nothing for two weeks gets one report that says why."""

from datetime import date, timedelta
from urllib.parse import urlsplit

from sqlalchemy import Connection

from services.domain.subscriptions.criteria import compile_subscription
from services.domain.subscriptions.no_match_report import LOOK_BACK, MIN_QUIET_TIME, report
from services.errors import QueryError
from services.ports import Embedder
from services.settings import Settings
from services.store.db.database import Database
from services.store.delivery import operator_notices
from services.store.papers import papers
from services.store.subscriptions import candidates, reminders
from services.store.subscriptions.records import Subscription

MAX_PAPERS = 3000
"""The newest papers are enough for the report, and take at most a minute."""


def work(db: Database, settings: Settings, embedder: Embedder) -> bool:
    """Sends one report; False if none is due."""
    now = db.now()
    with db.transaction() as tx:
        row = reminders.next_due(tx, now)
        lines = _lines(tx, row, embedder, now.date()) if row is not None else []
    if row is None:
        return False
    text = f"“{row.name}” has brought nothing for {MIN_QUIET_TIME.days} days"
    host = urlsplit(settings.base_url).hostname or "localhost"
    with db.transaction() as tx:
        if reminders.mark_reminded(tx, row.id, now):
            operator_notices.tell(tx, row.account_id, f"quiet:{row.id}:{now:%Y-%m-%d}", text, host, lines)
    return True


def _lines(tx: Connection, row: Subscription, embedder: Embedder, today: date) -> list[str]:
    if row.error:
        return [row.error]
    try:
        compiled = compile_subscription(row)
    except QueryError as error:
        return [f"Its query no longer compiles: {error}"]
    if compiled is None:
        return ["Its interest waits for the embedder."]
    window = papers.between(tx, today - LOOK_BACK, today)[:MAX_PAPERS]
    return report(compiled, candidates.of_papers(tx, window, row.model), LOOK_BACK // timedelta(days=1))
