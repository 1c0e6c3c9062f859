"""Adds channels, changes their hours and renews their secrets."""

from dataclasses import dataclass

from pydantic import BaseModel
from sqlalchemy import Connection

from services import plugins
from services.domain.delivery.schedule import ChannelHours
from services.errors import ConfigError
from services.flow.channel_targets import stored_target, target_of
from services.ports import Notifier, OptInRequiring, SecretIssuing
from services.settings import Settings
from services.store.accounts import accounts
from services.store.accounts.records import Account
from services.store.db import change_log
from services.store.db.database import Database
from services.store.db.secrets import SecretBox
from services.store.delivery import channels
from services.store.delivery.records import Channel


@dataclass(frozen=True, slots=True)
class AddedChannel:
    """A new channel. Its receiver needs `secret`, which is displayed only now; empty if it needs none."""

    id: int
    secret: str = ""


def own_email_channel(db: Database, settings: Settings, account_id: int, email: str) -> int:
    """The channel of the account's own address, added when there is none yet."""
    return find_or_add(db, settings, account_id, f"email:{email}", verified=True)


def find_or_add(
    db: Database,
    settings: Settings,
    account_id: int,
    word: str,
    *,
    verified: bool | None = None,
    hours: ChannelHours | None = None,
    by_operator: bool = False,
) -> int:
    """The id of the channel that `word` names: an id, or the short form that `add` takes.

    Raises as `add`, and NotFound for the id of another account's channel.
    """
    if word.isdigit():
        with db.transaction() as tx:
            return channels.find(tx, int(word), account_id).id
    return add(db, settings, account_id, word, verified=verified, hours=hours, by_operator=by_operator).id


def add(
    db: Database,
    settings: Settings,
    account_id: int,
    word: str,
    *,
    verified: bool | None = None,
    hours: ChannelHours | None = None,
    by_operator: bool = False,
) -> AddedChannel:
    """Adds a channel from its short form: `slack:#channel`, `slack-webhook:URL`, `webhook:URL`, `email:ADDRESS`.

    When the account has the channel, changes its hours. An e-mail address other than the account's own, a person in
    Slack, and a conversation of the operator's Slack bot that no operator adds, are not confirmed until somebody there
    opts in, unless `verified` is given. Raises ConfigError and TargetError.
    """
    kind, _, text = word.partition(":")
    kind = {"slack-webhook": "slack"}.get(kind, kind)
    if not text:
        raise ConfigError(
            f"--to takes a channel id, email, slack:#channel, slack-webhook:URL or webhook:URL, not {word!r}"
        )
    plugin = plugins.notifier(kind)
    target = plugin.parse_target(text)
    secrets = SecretBox(settings.secret_keys)
    with db.transaction() as tx:
        if verified is None:
            account = accounts.by_id(tx, account_id)
            verified = account is not None and _is_verified(plugin, target, account, by_operator=by_operator)
        secret = ""
        existing = _existing_target(tx, secrets, account_id, kind, plugin.label(target))
        if existing is None and isinstance(plugin, SecretIssuing):
            target, secret = plugin.with_new_secret(target, db.now(tx))
        stored = stored_target(kind, existing or target, secrets)
        return AddedChannel(channels.add(tx, account_id, stored, verified=verified, hours=hours), secret)


def _is_verified(plugin: Notifier, target: BaseModel, account: Account, *, by_operator: bool) -> bool:
    """Whether nobody has to opt in to the target."""
    if plugin.kind == "email":
        return plugin.label(target).lower() == account.email
    if not (isinstance(plugin, OptInRequiring) and plugin.needs_opt_in(target)):
        return True
    return not plugin.is_person(target) and (by_operator or account.operator)


def _existing_target(tx: Connection, secrets: SecretBox, account_id: int, kind: str, label: str) -> BaseModel | None:
    """The target of the account's channel with this label, which has secrets that the short form does not name."""
    channel = channels.find_by_label(tx, account_id, kind, label, lock=True)
    try:
        return target_of(channel, secrets) if channel is not None else None
    except ConfigError:  # The secret was encrypted with a lost key. Adding the channel again replaces the secret.
        return None


def change(
    db: Database, settings: Settings, account_id: int, channel_id: int, hours: ChannelHours, *, at_most_once: bool
) -> None:
    """Changes the hours of a channel, and whether an uncertain message may be sent again. Raises NotFound."""
    with db.transaction() as tx:
        channel = channels.find(tx, channel_id, account_id)
        channels.set_hours(tx, channel, hours)
        _set_at_most_once(tx, channel, at_most_once)


def set_at_most_once(db: Database, channel_id: int, at_most_once: bool) -> None:
    with db.transaction() as tx:
        _set_at_most_once(tx, channels.find(tx, channel_id), at_most_once)


def _set_at_most_once(tx: Connection, channel: Channel, at_most_once: bool) -> None:
    can_reconcile = plugins.notifier(channel.kind).policy(channel.target, "message").can_reconcile
    channels.set_at_most_once(tx, channel.id, at_most_once, can_reconcile=can_reconcile)


def rotate_secret(db: Database, settings: Settings, channel_id: int, account_id: int | None = None) -> str:
    """Makes a new secret, displayed this once. The old secret also signs for a day. Raises NotFound, ConfigError."""
    secrets = SecretBox(settings.secret_keys)
    with db.transaction() as tx:
        channel = channels.find(tx, channel_id, account_id)
        plugin = plugins.notifier(channel.kind)
        if not isinstance(plugin, SecretIssuing):
            raise ConfigError(f"a {channel.kind} channel has no signing secret; only a webhook channel has one")
        target, secret = plugin.with_new_secret(target_of(channel, secrets), db.now(tx))
        change_log.record(tx, channel.account_id, "renewed the secret of the channel", channel.label)
        channels.change_target(tx, channel.id, stored_target(channel.kind, target, secrets))
        return secret
