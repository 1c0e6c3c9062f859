"""Bounces: reads the mails that mail servers return, and stops mail to addresses that do not exist."""

import hashlib
from collections import Counter
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from sqlalchemy import Connection

from services import plugins
from services.domain.delivery import state_machine
from services.domain.delivery.bounce import OVER_QUOTA_PAUSE_SECONDS, SENT_AGAIN_FOR, Bounce
from services.domain.delivery.state_machine import State
from services.errors import ConfigError, LeaseLost, NotFound
from services.flow import opt_in_links, refused_mail
from services.ports import BounceReading
from services.settings import Settings
from services.store.db import rate_limits
from services.store.db.database import Database
from services.store.db.secrets import SecretBox
from services.store.delivery import bounces, channels, deliveries, ended_channels, operator_notices, opt_in
from services.telemetry import STAGE_ERRORS, log

INTERVAL = timedelta(minutes=5)
RATE_LIMIT_KEY = "bounces"
FAILURES_BEFORE_NOTICE = 2
"""Failed readings in a row. After one, the server may only be restarting."""
MAX_MAILS = 500
"""Mails of one reading. The next reading gets the rest."""
RETURNED = "mail to this address came back"


def work(db: Database, settings: Settings, secrets: SecretBox) -> bool:
    """Reads the mailbox every five minutes; False, since no work is left."""
    try:
        with db.transaction() as tx:
            rate_limits.acquire(tx, RATE_LIMIT_KEY, INTERVAL * settings.time_scale, db.now())
        if _bounce_reader().mailbox() is not None:
            read_mailbox(db, settings, secrets)
        with db.transaction() as tx:
            bounces.clear_mailbox_failure(tx)
    except LeaseLost:
        pass  # Another worker has just read the mailbox.
    except ConfigError as error:
        STAGE_ERRORS.labels("bounces").inc()
        log.warning("bounces are not read", why=str(error))
        _record_failure(db, settings, str(error))
    return False


def _record_failure(db: Database, settings: Settings, reason: str) -> None:
    """Sends the operator one notice until the mailbox can be read again."""
    with db.transaction() as tx:
        if bounces.record_mailbox_failure(tx, reason) == FAILURES_BEFORE_NOTICE:
            text = f"Returned mails cannot be read: {reason}"
            notes = ["The mailbox is tried every five minutes. What arrives meanwhile is read as soon as that works."]
            operator_notices.send(tx, None, f"bounces:{db.now(tx).timestamp()}", text, _host(settings), notes)


def read_mailbox(db: Database, settings: Settings, secrets: SecretBox) -> Counter[str]:
    """Handles the unread mails; counts the results of `handle_mail`. Raises ConfigError."""
    results: Counter[str] = Counter()
    connecting = _bounce_reader().mailbox()
    if connecting is None:
        raise ConfigError("PAPERWIRE_BOUNCE_URL is not set; it names the mailbox that returned mails arrive in")
    with connecting as mailbox:
        for key in mailbox.unread(MAX_MAILS):
            results[handle_mail(db, settings, secrets, mailbox.body(key))] += 1
            mailbox.seen(key)
    return results


def handle_mail(db: Database, settings: Settings, secrets: SecretBox, body: bytes) -> str:
    """Records a mail and returns what it was: `hard`, `soft`, `unsubscribed`, `known` (seen before) or `ignored`."""
    token = _bounce_reader().read_unsubscribe(body)
    returned = None if token else _bounce_reader().read_bounce(body)
    with db.transaction() as tx:
        if token:
            return _unsubscribe(tx, secrets, token)
        return _record(tx, settings, secrets, body, returned, db.now(tx)) if returned else "ignored"


def _bounce_reader() -> BounceReading:
    plugin = plugins.notifier("email")
    assert isinstance(plugin, BounceReading)
    return plugin


def _unsubscribe(tx: Connection, secrets: SecretBox, token: str) -> str:
    try:
        opt_in.unsubscribe(tx, opt_in_links.by_unsubscribe_token(tx, secrets, token))
    except NotFound:
        return "ignored"
    return "unsubscribed"


def _record(
    tx: Connection, settings: Settings, secrets: SecretBox, body: bytes, returned: Bounce, now: datetime
) -> str:
    delivery = bounces.find_delivery(tx, returned.message_ids)
    channel_id = delivery.channel_id if delivery else _channel_of_links(tx, secrets, returned.links)
    if channel_id is None:
        return "ignored"
    digest, error = hashlib.sha256(body).digest(), f"came back: {returned.reason}"
    if not bounces.record(tx, digest, returned, channel_id, delivery.id if delivery else None, error):
        return "known"
    log.info("mail came back", channel=channel_id, status=returned.status)
    if returned.is_hard:
        _stop_mail(tx, settings, channel_id, returned)
        return "hard"
    if delivery and returned.is_over_quota and _send_again(tx, settings, delivery.id, error, now):
        return "soft"
    if returned.is_permanent:
        last_id = delivery.id if delivery else None
        refused_mail.stop_if_refused_in_a_row(tx, channel_id, last_id, returned.reason, _host(settings))
    return "soft"


def _send_again(tx: Connection, settings: Settings, delivery_id: int, error: str, now: datetime) -> bool:
    """Sends a mail again tomorrow that a full mailbox returned, as one that it refused; False when it is given up."""
    sent = deliveries.lock(tx, delivery_id)
    if sent.state is not State.SENT:  # Another report of the same mail was first.
        return sent.state is not State.DEAD
    if sent.sent_at is None or sent.sent_at < now - SENT_AGAIN_FOR:
        return False
    after = state_machine.come_back(sent, error, OVER_QUOTA_PAUSE_SECONDS * settings.time_scale, now)
    deliveries.store_come_back(tx, after)
    ended_channels.drop_if_ended(tx, sent.channel_id)
    if after.state is State.DEAD and sent.kind not in state_machine.AT_MOST_ONCE_KINDS:
        channel = channels.by_id(tx, sent.channel_id)
        assert channel is not None
        refused_mail.tell_owner(tx, channel, after.error, now, _host(settings))
    return after.state is not State.DEAD


def _stop_mail(tx: Connection, settings: Settings, channel_id: int, returned: Bounce) -> None:
    """Stops mail to the address of a channel in every account, and notifies the accounts."""
    channel = channels.by_id(tx, channel_id)
    assert channel is not None
    address, reason = channel.label.lower(), f"{RETURNED}: {returned.reason}"
    opt_in.suppress(tx, address, reason)
    for disabled in channels.disable_address(tx, address, reason):
        text = f"{disabled.label} gets no more mail: {RETURNED}"
        operator_notices.send(
            tx, disabled.account_id, f"bounce:{disabled.id}:{returned.status}", text, _host(settings)
        )  # fmt: skip


def _channel_of_links(tx: Connection, secrets: SecretBox, links: tuple[str, ...]) -> int | None:
    """The channel of the unsubscribe link in the returned headers, since some servers replace the Message-ID."""
    for url in links:
        try:
            return opt_in_links.by_unsubscribe_token(tx, secrets, urlsplit(url).path.rpartition("/")[2]).id
        except (NotFound, ValueError):
            continue
    return None


def _host(settings: Settings) -> str:
    return settings.host
