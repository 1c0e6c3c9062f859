"""Silences of an account, and what they keep from being told."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Connection, and_, any_, func, insert, literal, select, update

from services.domain.papers.paper import Paper
from services.domain.query.evaluate import PaperText
from services.domain.query.parser import parse
from services.domain.subscriptions.silence import Silence, silencing
from services.errors import ConfigError, NotFound
from services.store.db.database import Row, rows
from services.store.db.tables import account, silence, subscription
from services.store.papers import papers
from services.store.subscriptions import subscriptions

SILENCED = "silenced"
"""How the reason of a dropped item begins."""
MAX_PER_ACCOUNT = 100


def add(
    tx: Connection, account_id: int, until: datetime, now: datetime, query: str = "", subscription_id: int | None = None
) -> int:
    """Silences what the query matches, or one subscription, or both at once, or everything. Raises QueryError,
    ConfigError, NotFound.
    """
    if until <= now:
        raise ConfigError("a silence ends on a day that is still to come")
    if subscription_id is not None:
        subscriptions.find(tx, subscription_id, account_id)
    if len(active(tx, account_id, now)) >= MAX_PER_ACCOUNT:
        raise ConfigError(f"an account has at most {MAX_PER_ACCOUNT} silences; end one first")
    canonical = str(parse(query)) if query.strip() else ""
    values = {"account_id": account_id, "until": until, "query": canonical, "subscription_id": subscription_id}
    return int(tx.scalars(insert(silence).values(values).returning(silence.c.id)).one())


def end(tx: Connection, silence_id: int, account_id: int | None = None) -> None:
    """Ends one now; what it dropped stays dropped. Raises NotFound."""
    mine = and_(silence.c.id == silence_id, silence.c.ended_at.is_(None))
    mine = and_(mine, silence.c.account_id == account_id) if account_id is not None else mine
    if tx.execute(update(silence).where(mine).values(ended_at=func.now())).rowcount == 0:
        raise NotFound(f"no silence {silence_id}")


def all_of(tx: Connection, now: datetime, account_id: int | None = None) -> Sequence[Row]:
    """Silences that are not over, with the `email` of the account and the `name` of the subscription."""
    query = select(silence, account.c.email, subscription.c.name).join(account, account.c.id == silence.c.account_id)
    query = query.outerjoin(subscription, subscription.c.id == silence.c.subscription_id).where(_living(now))
    query = query.where(silence.c.account_id == account_id) if account_id is not None else query
    return rows(tx, query.order_by(silence.c.until, silence.c.id))


def active(tx: Connection, account_id: int, now: datetime) -> list[Silence]:
    return active_of(tx, {account_id}, now).get(account_id, [])


def active_of(tx: Connection, account_ids: Collection[int], now: datetime) -> dict[int, list[Silence]]:
    """The silences of each account that has any."""
    if not account_ids:
        return {}
    mine = silence.c.account_id == any_(literal(list(account_ids), ARRAY(BigInteger)))
    found: dict[int, list[Silence]] = {}
    for row in rows(tx, select(silence).where(mine, _living(now)).order_by(silence.c.id)):
        query = parse(row["query"]) if row["query"] else None
        one = Silence(until=row["until"], query=query, subscription=row["subscription_id"])
        found.setdefault(row["account_id"], []).append(one)
    return found


def muted(
    tx: Connection, account_id: int, said: Collection[tuple[int, int]], now: datetime
) -> dict[tuple[int, int], str]:
    """Those of the pairs (subscription, paper) that a silence covers, with the reason."""
    silences = active(tx, account_id, now) if said else []
    return covered(silences, said, papers.load(tx, {paper for _, paper in said})) if silences else {}


def covered(
    silences: Sequence[Silence], said: Collection[tuple[int, int]], known: Mapping[int, Paper]
) -> dict[tuple[int, int], str]:
    """The same of silences and papers that were read already."""
    if not silences:
        return {}
    texts = {paper: PaperText.of(known[paper]) for _, paper in said}
    found = {(sub, paper): silencing(silences, sub, texts[paper]) for sub, paper in said}
    return {pair: str(one) for pair, one in found.items() if one is not None}


def _living(now: datetime) -> Any:
    return and_(silence.c.until > now, silence.c.ended_at.is_(None))
