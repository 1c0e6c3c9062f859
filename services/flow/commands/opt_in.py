"""Opt-in: an address gets messages only after its owner agreed, and none after its owner unsubscribed."""

from dataclasses import replace

from sqlalchemy import Connection

from services import plugins
from services.domain.accounts.profile import normalize_email
from services.domain.delivery.state_machine import DeliveryKind
from services.errors import NotFound
from services.flow import consent, email_address, opt_in_links
from services.flow.channel_targets import stored_target, target_of
from services.ports import OptInRequiring
from services.settings import Settings
from services.store.accounts import accounts
from services.store.accounts.records import Account
from services.store.db import change_log
from services.store.db.database import Database, wake
from services.store.db.secrets import SecretBox
from services.store.delivery import channels, deliveries, opt_in
from services.store.delivery.records import Channel, ChannelWithAccount, NewDelivery


def request_opt_in(
    db: Database, settings: Settings, channel_id: int, account_id: int | None = None, ip: str = ""
) -> bool:
    """Sends an opt-in request to a channel that is not confirmed; False when none was sent.

    Only operators may see the result, which reveals whether other accounts requested the same address. Raises NotFound.
    """
    with db.transaction() as tx:
        return _request(tx, settings, channels.find(tx, channel_id, account_id), ip, db)


def confirm(db: Database, secrets: SecretBox, token: str) -> Channel:
    """Confirms the channel of a mailed link. Raises NotFound, Conflict."""
    with db.transaction() as tx:
        channel = opt_in_links.by_confirm_token(tx, secrets, token, db.now())
        if channel.deleted_at is None and not channel.verified:
            _confirm(tx, secrets, channel)
        elif channel.deleted_at and not channel.verified:
            raise NotFound("this address does not wait for a confirmation any more")
        return channel


def enable(db: Database, settings: Settings, channel_id: int, account_id: int | None = None, ip: str = "") -> bool:
    """Enables a disabled channel, whose waiting papers are then sent, and subscribes an unsubscribed one again.

    False when its owner has to opt in by mail first. Raises NotFound.
    """
    with db.transaction() as tx:
        channel = channels.find(tx, channel_id, account_id)
        if channel.kind == "email":
            opt_in.lift_suppression(tx, channel.label)
        channels.enable(tx, channel_id)
    return subscribe_again(db, settings, channel_id, account_id, ip)


def confirm_by_operator(db: Database, secrets: SecretBox, channel_id: int) -> Channel:
    """Confirms a channel on an operator's word that the owner of its address agreed. Raises NotFound, Conflict."""
    with db.transaction() as tx:
        channel = channels.find(tx, channel_id)
        opt_in.lift_suppression(tx, channel.label, refused=True)
        channels.enable(tx, channel_id)
        _confirm(tx, secrets, channel)
        return channel


def unsubscribe(db: Database, secrets: SecretBox, token: str) -> Channel:
    """Unsubscribes the channel of a mailed link; a second click changes nothing. Raises NotFound."""
    with db.transaction() as tx:
        channel = opt_in_links.by_unsubscribe_token(tx, secrets, token)
        opt_in.unsubscribe(tx, channel)
        if not channel.verified:
            _suppress_asked_place(tx, channel)
        return channel


def _suppress_asked_place(tx: Connection, channel: Channel) -> None:
    """Who refuses `#papers` is not asked again under the id of the conversation either."""
    plugin = plugins.notifier(channel.kind)
    if isinstance(plugin, OptInRequiring):
        for receipt in deliveries.receipts_of_kind(tx, channel.id, DeliveryKind.CONFIRM):
            opt_in.suppress(tx, plugin.asked_place(receipt), opt_in.REFUSED, refused=True)


def subscribe_again(
    db: Database, settings: Settings, channel_id: int, account_id: int | None = None, ip: str = ""
) -> bool:
    """Subscribes a channel again; False when somebody there has to opt in first.

    The account's own address and targets that were given to the account need no opt-in. Raises NotFound.
    """
    with db.transaction() as tx:
        channel = channels.find(tx, channel_id, account_id)
        if channel.unsubscribed_at is None:
            return True
        if channel.verified and not _needs_opt_in(settings, channel):
            opt_in.subscribe_again(tx, channel_id)
            change_log.record(tx, channel.account_id, "subscribed the channel again", channel.label)
            return True
        opt_in.require_confirmation(tx, channel_id)
        _request(tx, settings, replace(channel, verified=False, unsubscribed_at=None), ip, db)
        return False


def change_address(db: Database, settings: Settings, account: Account, email: str, ip: str = "") -> bool:
    """Changes the address of an account once the new one is confirmed; returns whether nothing is left to confirm.

    An operator's address changes at once, since operators may do anything, but mail to it waits for the confirmation
    too. Raises ConfigError, Conflict, TargetError.
    """
    email = normalize_email(email)
    secrets = SecretBox(settings.secret_keys)
    with db.transaction() as tx:
        if email == account.email:
            accounts.set_new_email(tx, account.id, "")
            return True
        if account.operator:
            email_address.move(tx, secrets, account, email, verified=False)
            channel_id = email_address.own_channel_id(tx, account.id, email)
        else:
            accounts.set_new_email(tx, account.id, email)
            target = stored_target("email", plugins.notifier("email").parse_target(email), secrets)
            channel_id = channels.add(tx, account.id, target, verified=False)
        if channel_id is not None:
            _request(tx, settings, channels.find(tx, channel_id), ip, db)
        return channel_id is None


def _needs_opt_in(settings: Settings, channel: ChannelWithAccount) -> bool:
    """Whether the account may only name the target, so that somebody there has to agree."""
    if channel.kind == "email":
        return channel.label.lower() != channel.email
    plugin = plugins.notifier(channel.kind)
    return isinstance(plugin, OptInRequiring) and plugin.needs_opt_in(
        target_of(channel, SecretBox(settings.secret_keys))
    )


def _request(tx: Connection, settings: Settings, channel: Channel, ip: str, db: Database) -> bool:
    """Sends an opt-in request unless the channel is confirmed, unsubscribed or suppressed, or has had too many."""
    if channel.verified or channel.unsubscribed_at:
        return False
    now = db.now()
    if not consent.may_mail_stranger(tx, channel.label.lower(), ip, channel.account_id, now):
        return False
    host = settings.host
    key = f"{DeliveryKind.CONFIRM}:{channel.id}:{now.isoformat()}"
    request = NewDelivery(account_id=channel.account_id, channel_id=channel.id, kind=DeliveryKind.CONFIRM, idem_key=key)
    delivery_id = deliveries.create(tx, request, host)
    wake(tx, "deliver")
    return delivery_id is not None


def _confirm(tx: Connection, secrets: SecretBox, channel: Channel) -> None:
    change_log.record(tx, channel.account_id, "confirmed the channel", channel.label)
    opt_in.confirm(tx, channel.id)
    account = accounts.by_id(tx, channel.account_id)
    is_email = channel.kind == "email"
    if account and account.new_email and is_email and channel.label.lower() == account.new_email:
        email_address.adopt(tx, secrets, account, channel.id)
