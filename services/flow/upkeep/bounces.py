"""Bounces: mails that servers send back are read, and addresses that do not exist are mailed no more."""

from collections import Counter
from datetime import timedelta
from urllib.parse import urlsplit

from sqlalchemy import Connection

from services import plugins
from services.domain.delivery.bounce import Bounce, is_hard
from services.errors import ConfigError, LeaseLost, NotFound
from services.ports import BounceReading
from services.settings import Settings
from services.store.db import rate_limits
from services.store.db.database import Database
from services.store.db.secrets import SecretBox
from services.store.delivery import bounces, operator_notices, opt_in
from services.telemetry import STAGE_ERRORS, log

EVERY = timedelta(minutes=5)
GATE = "bounces"
TELL_AT = 2
"""Readings that fail in a row: once is a server that restarts."""
MOST = 500
"""Mails of one reading; the rest is read by the next."""


def work(db: Database, settings: Settings, secrets: SecretBox) -> bool:
    """Reads the mailbox when it is time to; False, since there is nothing to do at once after it."""
    try:
        with db.transaction() as tx:
            rate_limits.acquire(tx, GATE, EVERY * settings.time_scale, db.now())
        if _mail().mailbox() is not None:
            read_mailbox(db, settings, secrets)
        with db.transaction() as tx:
            bounces.readable(tx)
    except LeaseLost:
        pass  # Another worker has just done it.
    except ConfigError as error:
        STAGE_ERRORS.labels("bounces").inc()
        log.warning("bounces are not read", why=str(error))
        _note_failure(db, settings, str(error))
    return False


def _note_failure(db: Database, settings: Settings, why: str) -> None:
    """Tells the operator once, until the mailbox was read again."""
    with db.transaction() as tx:
        if bounces.unreadable(tx, why) == TELL_AT:
            host = urlsplit(settings.base_url).hostname or "localhost"
            text = f"Mails that come back are not read: {why}"
            notes = ["It is tried every five minutes and goes on by itself; what arrives meanwhile is read then."]
            operator_notices.tell(tx, None, f"bounces:{db.now(tx).timestamp()}", text, host, notes)


def read_mailbox(db: Database, settings: Settings, secrets: SecretBox) -> Counter[str]:
    """Reads what arrived; how many of each outcome of `take`. Raises ConfigError when the mailbox cannot be read."""
    outcomes: Counter[str] = Counter()
    opened = _mail().mailbox()
    if opened is None:
        raise ConfigError("PAPERWIRE_BOUNCE_URL is not set; it names the mailbox that returned mails arrive in")
    with opened as mailbox:
        for key in mailbox.unread(MOST):
            outcomes[take(db, settings, secrets, mailbox.body(key))] += 1
            mailbox.seen(key)
    return outcomes


def take(db: Database, settings: Settings, secrets: SecretBox, body: bytes) -> str:
    """What a mail was: `hard`, `soft`, `unsubscribed`, `known` (read before) or `ignored`."""
    token = _mail().read_unsubscribe(body)
    found = None if token else _mail().read_bounce(body)
    with db.transaction() as tx:
        if token:
            return _unsubscribe(tx, secrets, token)
        return _bounce(tx, settings, secrets, body, found) if found else "ignored"


def _mail() -> BounceReading:
    plugin = plugins.notifier("email")
    assert isinstance(plugin, BounceReading)
    return plugin


def _unsubscribe(tx: Connection, secrets: SecretBox, token: str) -> str:
    try:
        opt_in.unsubscribe(tx, opt_in.by_unsubscribe_token(tx, secrets, token))
    except NotFound:
        return "ignored"
    return "unsubscribed"


def _bounce(tx: Connection, settings: Settings, secrets: SecretBox, body: bytes, found: Bounce) -> str:
    delivery = bounces.delivery_of(tx, found.message_ids)
    channel_id = delivery["channel_id"] if delivery else _channel_of(tx, secrets, found.links)
    if channel_id is None:
        return "ignored"
    if not bounces.record(tx, body, found, channel_id, delivery["id"] if delivery else None):
        return "known"
    log.info("a mail came back", channel=channel_id, status=found.status)
    if not is_hard(found.status):
        return "soft"
    host = urlsplit(settings.base_url).hostname or "localhost"
    for row in bounces.stop(tx, channel_id, found):
        text = f"{row['label']} gets no more mails: {bounces.CAME_BACK}"
        operator_notices.tell(tx, row["account_id"], f"bounce:{row['id']}:{found.status}", text, host)
    return "hard"


def _channel_of(tx: Connection, secrets: SecretBox, links: tuple[str, ...]) -> int | None:
    """The channel of the signed link in the returned headers, for servers that give mails ids of their own."""
    for url in links:
        try:
            return int(opt_in.by_unsubscribe_token(tx, secrets, urlsplit(url).path.rpartition("/")[2])["id"])
        except (NotFound, ValueError):
            continue
    return None
