"""Silences of an account, and the matches that they cover."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    func,
    insert,
    select,
    true,
    update,
)

from services.domain.query.parser import parse
from services.domain.subscriptions.silence import MAX_SILENCES, Silence, silenced_reasons
from services.errors import ConfigError, NotFound
from services.store.db import change_log
from services.store.db.database import any_id
from services.store.db.records import fetch_all
from services.store.db.tables import account, match, silence, subscription
from services.store.papers import papers
from services.store.subscriptions import subscriptions
from services.store.subscriptions.records import ActiveSilence

MAX_COUNTED = 500
"""Matches that are read to count what a new silence would drop, so that the page stays fast."""


def add(
    tx: Connection, account_id: int, until: datetime, now: datetime, query: str = "", subscription_id: int | None = None
) -> int:
    """Silences the papers that match the query, or one subscription, or both at once, or everything.

    Raises QueryError, ConfigError, NotFound.
    """
    if until <= now:
        raise ConfigError("a silence ends on a day that is still to come")
    if subscription_id is not None:
        subscriptions.find(tx, subscription_id, account_id)
    if len(active_by_account(tx, {account_id}, now).get(account_id, ())) >= MAX_SILENCES:
        raise ConfigError(f"an account has at most {MAX_SILENCES} silences; end one first")
    canonical = str(parse(query)) if query.strip() else ""
    values = {"account_id": account_id, "until": until, "query": canonical, "subscription_id": subscription_id}
    change_log.record(tx, account_id, "silenced papers", f"{canonical or 'all'}, until {until:%Y-%m-%d}")
    return int(tx.scalars(insert(silence).values(values).returning(silence.c.id)).one())


def end(tx: Connection, silence_id: int, account_id: int | None = None) -> None:
    """Ends a silence now. Papers that it dropped stay dropped. Raises NotFound."""
    query = (
        update(silence)
        .where(
            silence.c.id == silence_id,
            silence.c.ended_at.is_(None),
            silence.c.account_id == account_id if account_id is not None else true(),
        )
        .values(ended_at=func.now())
        .returning(silence.c.account_id, silence.c.query)
    )
    ended = tx.execute(query).first()
    if ended is None:
        raise NotFound(f"no silence {silence_id}")
    change_log.record(tx, ended.account_id, "ended a silence", ended.query)


def list_all(tx: Connection, now: datetime, account_id: int | None = None) -> list[ActiveSilence]:
    """The active silences of one account or of all."""
    query = (
        select(
            silence.c.id,
            account.c.email,
            silence.c.until,
            silence.c.query,
            silence.c.subscription_id,
            subscription.c.name,
        )
        .join(account, account.c.id == silence.c.account_id)
        .outerjoin(subscription, subscription.c.id == silence.c.subscription_id)
        .where(_is_active(now), silence.c.account_id == account_id if account_id is not None else true())
        .order_by(silence.c.until, silence.c.id)
    )
    return fetch_all(tx, ActiveSilence, query)


def active_by_account(tx: Connection, account_ids: Collection[int], now: datetime) -> dict[int, list[Silence]]:
    """The active silences of each account that has any."""
    if not account_ids:
        return {}
    query = (
        select(silence.c.account_id, silence.c.until, silence.c.query, silence.c.subscription_id)
        .where(silence.c.account_id == any_id(account_ids), _is_active(now))
        .order_by(silence.c.id)
    )
    active = defaultdict[int, list[Silence]](list)
    for row in tx.execute(query):
        parsed = parse(row.query) if row.query else None
        active[row.account_id].append(Silence(until=row.until, query=parsed, subscription_id=row.subscription_id))
    return dict(active)


def reasons_by_match(
    tx: Connection, account_id: int, matched: Collection[tuple[int, int]], now: datetime
) -> dict[tuple[int, int], str]:
    """The given pairs (subscription, paper) that an active silence covers, with the reason."""
    silences = active_by_account(tx, {account_id}, now).get(account_id) if matched else None
    if not silences:
        return {}
    return silenced_reasons(silences, matched, papers.load(tx, {paper_id for _, paper_id in matched}))


def count_covered(
    tx: Connection, account_id: int, since: datetime, query: str = "", subscription_id: int | None = None
) -> int:
    """How many papers matched since a moment that such a silence covers, of the newest MAX_COUNTED matches."""
    recent = tx.execute(
        select(match.c.subscription_id, match.c.paper_id)
        .where(match.c.account_id == account_id, match.c.created_at > since)
        .order_by(match.c.id.desc())
        .limit(MAX_COUNTED)
    )
    matched = [(row.subscription_id, row.paper_id) for row in recent]
    covering = Silence(until=since, query=parse(query) if query else None, subscription_id=subscription_id)
    covered = silenced_reasons([covering], matched, papers.load(tx, {paper_id for _, paper_id in matched}))
    return len({paper_id for _, paper_id in covered})


def _is_active(now: datetime) -> ColumnElement[bool]:
    return and_(silence.c.until > now, silence.c.ended_at.is_(None))
