"""Saving and pausing subscriptions. The next paper after a save is matched against the new subscription."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from pydantic import BaseModel
from sqlalchemy import Connection

from services import plugins
from services.domain.subscriptions.draft import Draft, check
from services.errors import ConfigError
from services.flow.commands import compile_interest
from services.ports import Embedder, SecretIssuing
from services.settings import Settings
from services.store.accounts import accounts
from services.store.db.database import Database
from services.store.db.secrets import SecretBox
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


def email_channel(db: Database, settings: Settings, account_id: int, email: str) -> int:
    """The account's own address as a channel, added when it is not there yet."""
    return add_channel(db, settings, account_id, f"email:{email}", verified=True)


def add_channel(
    db: Database, settings: Settings, account_id: int, word: str, *, verified: bool | None = None, **hours: object
) -> int:
    """A channel from its short form: an id, `slack:#channel`, `slack-webhook:URL`, `webhook:URL`, `email:ADDRESS`.

    A mail address other than the account's own is not verified until its owner agrees, unless `verified` says he did.
    Raises TargetError for a target that cannot be one, NotFound for an id of somebody else's.
    """
    if word.isdigit():
        with db.transaction() as tx:
            return int(channels.find(tx, int(word), account_id)["id"])
    return open_channel(db, settings, account_id, word, verified=verified, **hours)[0]


def open_channel(
    db: Database, settings: Settings, account_id: int, word: str, *, verified: bool | None = None, **hours: object
) -> tuple[int, str]:
    """As add_channel, with the secret that a new channel's receiver must know: it is shown this once; else empty."""
    kind, _, text = word.partition(":")
    kind = {"slack-webhook": "slack"}.get(kind, kind)
    if not text:
        raise ConfigError(
            f"--to takes a channel id, email, slack:#channel, slack-webhook:URL or webhook:URL, not {word!r}"
        )
    plugin = plugins.notifier(kind)
    target = plugin.parse_target(text)
    secrets = SecretBox(settings.secret_key.get_secret_value())
    with db.transaction() as tx:
        account = accounts.by_id(tx, account_id)
        own = kind != "email" or (account is not None and plugin.label(target).lower() == account["email"])
        agreed = own if verified is None else verified
        known, secret = _known(tx, secrets, account_id, kind, plugin.label(target)), ""
        if known is None and isinstance(plugin, SecretIssuing):
            target, secret = plugin.with_new_secret(target, db.now(tx))
        return channels.add(tx, secrets, account_id, kind, known or target, verified=agreed, **hours), secret


def _known(tx: Connection, secrets: SecretBox, account_id: int, kind: str, label: str) -> BaseModel | None:
    """The target of the channel that is there already, with the secrets that its address alone does not name."""
    row = channels.same(tx, account_id, kind, label)
    try:
        return channels.target_of(row, secrets) if row is not None else None
    except ConfigError:  # Sealed with a key that is gone: adding it again is the way to mend it.
        return None


def rotate_secret(db: Database, settings: Settings, channel_id: int, account_id: int | None = None) -> str:
    """A new secret, shown this once; the old one signs beside it for a day. Raises NotFound, ConfigError."""
    secrets = SecretBox(settings.secret_key.get_secret_value())
    with db.transaction() as tx:
        row = channels.find(tx, channel_id, account_id)
        plugin = plugins.notifier(row["kind"])
        if not isinstance(plugin, SecretIssuing):
            raise ConfigError(f"a {row['kind']} channel has no secret of its own; only a webhook has")
        target, secret = plugin.with_new_secret(channels.target_of(row, secrets), db.now(tx))
        channels.retarget(tx, secrets, row, target)
        return secret


def pause(db: Database, subscription_id: int, day: str = "", account_id: int | None = None) -> datetime | None:
    """Pauses a subscription until `day` begins in its account's time zone, or until further notice.

    A day that has begun already ends a pause. Returns the end of the pause; None if there is no pause any more.
    Raises ConfigError, NotFound.
    """
    now = db.now()
    with db.transaction() as tx:
        owner_id = subscriptions.find(tx, subscription_id, account_id).account_id
        account = accounts.by_id(tx, owner_id)
        until = start_of(day, account["timezone"]) if day and account else FURTHER_NOTICE
        end = until if until > now else None
        subscriptions.pause(tx, subscription_id, owner_id, end)
    return end


def resume(db: Database, subscription_id: int, account_id: int) -> None:
    with db.transaction() as tx:
        subscriptions.pause(tx, subscription_id, account_id, None)


def start_of(day: str, timezone: str) -> datetime:
    """The first moment of a day in a time zone. Raises ConfigError."""
    try:
        return datetime.combine(date.fromisoformat(day), time(), ZoneInfo(timezone))
    except ValueError:
        raise ConfigError(f"a pause ends on a day such as 2026-01-31, not {day[:20]!r}") from None
