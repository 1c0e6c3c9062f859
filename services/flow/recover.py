"""Recover: leases whose workers were lost, transports that may answer again, a database that is a copy."""

from services import plugins
from services.domain import delivery as domain
from services.errors import ConfigError
from services.ports import Held
from services.settings import Settings
from services.store import channels, hold, sending
from services.store.database import Database, Row
from services.store.vault import Vault
from services.telemetry import log


def look(db: Database) -> bool:
    """Holds a database that was copied from another server, before anything of it is sent; nothing is left to do."""
    with db.transaction() as tx:
        hold.look(tx, db.now(tx))
    return False


def expire(db: Database, settings: Settings) -> bool:
    """Ends one lease whose worker was lost; False when none ran out."""
    with db.transaction() as tx:
        return sending.expire_one(tx, db.now(), settings.time_scale)


def check_transport(db: Database, settings: Settings, vault: Vault) -> bool:
    """Looks whether one held transport answers again; False when none is due for a look."""
    with db.transaction() as tx:
        now = db.now()
        due, channel = channels.claim_check(tx, now, domain.CLAIM_LEASE * settings.time_scale)
    if channel is not None:
        still = _still(channel, vault)
        with db.transaction() as tx:
            if still is None:
                channels.let_go(tx, channel["transport"])
            else:
                channels.hold(tx, channel["transport"], still.reason, db.now(), settings.time_scale)
    return due


def _still(channel: Row, vault: Vault) -> Held | None:
    """What keeps a transport; nothing known where a channel's secret cannot be opened: its next message will tell."""
    try:
        target = channels.target_of(channel, vault)
    except ConfigError as error:
        log.warning("a held transport cannot be checked", channel=channel["id"], why=str(error))
        return None
    return plugins.notifier(channel["kind"]).check(target)
