"""Saving and pausing subscriptions. The next paper after a save is matched against the new subscription."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from services import plugins
from services.domain.subscriptions.draft import Draft, check
from services.errors import ConfigError
from services.flow.commands import compile_interest
from services.ports import Embedder
from services.store.accounts import accounts
from services.store.db.database import Database
from services.store.delivery import channels
from services.store.subscriptions import subscriptions

FURTHER_NOTICE = datetime(9999, 1, 1, tzinfo=UTC)
"""The end of a pause without a date."""


def save(
    db: Database,
    embedder: Embedder,
    account_id: int,
    draft: Draft,
    channel_ids: Sequence[int],
    subscription_id: int | None = None,
) -> int:
    """Saves a new subscription, or changes one of the account's. Returns its id.

    Raises QueryError, ConfigError, NotFound.
    """
    draft = check(draft)
    for kind in draft.sources:
        plugins.source(kind)
    compiled = compile_interest.compile(db, embedder, draft)
    with db.transaction() as tx:
        for channel_id in channel_ids:
            channels.find(tx, channel_id, account_id)
        return subscriptions.save(tx, account_id, draft, compiled, channel_ids, subscription_id)


def pause(db: Database, subscription_id: int, day: str = "", account_id: int | None = None) -> datetime | None:
    """Pauses a subscription until `day` begins in its account's time zone, or until further notice.

    A day that has begun already ends a pause. Returns the end of the pause; None if there is no pause any more.
    Raises ConfigError, NotFound.
    """
    now = db.now()
    with db.transaction() as tx:
        owner_id = subscriptions.find(tx, subscription_id, account_id).account_id
        account = accounts.by_id(tx, owner_id)
        until = start_of(day, account.timezone) if day and account else FURTHER_NOTICE
        end = until if until > now else None
        subscriptions.pause(tx, subscription_id, owner_id, end)
    return end


def resume(db: Database, subscription_id: int, account_id: int) -> None:
    with db.transaction() as tx:
        subscriptions.pause(tx, subscription_id, account_id, None)


def pause_all(db: Database, account_id: int, day: str) -> None:
    """Pauses every subscription until `day` begins; a longer pause stays. Nothing is dropped. Raises ConfigError."""
    with db.transaction() as tx:
        account = accounts.by_id(tx, account_id)
        until = start_of(day, account.timezone if account else "UTC")
        if until <= db.now(tx):
            raise ConfigError("you are away until a day that is still to come")
        for row in subscriptions.list_all(tx, account_id):
            if row.paused_until is None or row.paused_until < until:
                subscriptions.pause(tx, row.id, account_id, until)


def resume_all(db: Database, account_id: int) -> None:
    """Ends the pauses of all subscriptions but those until further notice, so that what has waited is sent."""
    with db.transaction() as tx:
        for row in subscriptions.list_all(tx, account_id):
            if row.paused_until is not None and row.paused_until != FURTHER_NOTICE:
                subscriptions.pause(tx, row.id, account_id, None)


def start_of(day: str, timezone: str) -> datetime:
    """The first moment of a day in a time zone. Raises ConfigError."""
    try:
        return datetime.combine(date.fromisoformat(day), time(), ZoneInfo(timezone))
    except ValueError:
        raise ConfigError(f"a pause ends on a day such as 2026-01-31, not {day[:20]!r}") from None
