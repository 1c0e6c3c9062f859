"""Recover: leases whose workers were lost, transports that may answer again, a database that is a copy."""

from services import plugins
from services.domain.delivery import state_machine as domain
from services.errors import ConfigError
from services.ports import TransportDown
from services.settings import Settings
from services.store.db.database import Database, Row
from services.store.db.secrets import SecretBox
from services.store.delivery import channels, claims, sending_pause
from services.telemetry import log


def look(db: Database) -> bool:
    """Holds a database that was copied from another server, before anything of it is sent; nothing is left to do."""
    with db.transaction() as tx:
        sending_pause.look(tx, db.now(tx))
    return False


def expire(db: Database, settings: Settings) -> bool:
    """Ends one lease whose worker was lost; False when none ran out."""
    with db.transaction() as tx:
        return claims.expire_one(tx, db.now(), settings.time_scale)


def check_transport(db: Database, settings: Settings, secrets: SecretBox) -> bool:
    """Looks whether one held transport answers again; False when none is due for a look."""
    with db.transaction() as tx:
        now = db.now()
        due, channel = channels.claim_check(tx, now, domain.CLAIM_LEASE * settings.time_scale)
    if channel is not None:
        still = _still(channel, secrets)
        with db.transaction() as tx:
            if still is None:
                channels.release_transport(tx, channel["transport"])
            else:
                channels.hold_transport(tx, channel["transport"], still.reason, db.now(), settings.time_scale)
    return due


def _still(channel: Row, secrets: SecretBox) -> TransportDown | None:
    """What keeps a transport; nothing known where a channel's secret cannot be opened: its next message will tell."""
    try:
        target = channels.target_of(channel, secrets)
    except ConfigError as error:
        log.warning("a held transport cannot be checked", channel=channel["id"], why=str(error))
        return None
    return plugins.notifier(channel["kind"]).probe(target)
