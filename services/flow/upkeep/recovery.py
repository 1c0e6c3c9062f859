"""Recovery: ends the leases of lost workers, probes transports that are down, and pauses a copied database."""

from services import plugins
from services.domain.delivery import state_machine
from services.errors import ConfigError
from services.flow.channel_targets import target_of
from services.ports import TransportDown
from services.settings import Settings
from services.store.db import circuit_breaker
from services.store.db.database import Database
from services.store.db.secrets import SecretBox
from services.store.delivery import channels, claims, sending_pause
from services.store.delivery.records import Channel
from services.telemetry import log


def pause_if_copied(db: Database) -> bool:
    """Pauses sending from a database that was copied from another server; False, since no work is left."""
    with db.transaction() as tx:
        sending_pause.start_if_copied(tx, db.now(tx))
    return False


def end_expired_lease(db: Database, settings: Settings) -> bool:
    """Ends the lease of one delivery whose worker was lost; False when no lease has expired."""
    with db.transaction() as tx:
        now = db.now()
        expired = claims.lock_expired(tx, now)
        if expired is None:
            return False
        delivery, channel = expired
        policy = plugins.policy(channel.kind, channel.target, delivery.kind, at_most_once=channel.at_most_once)
        claims.store_expired(tx, state_machine.expire(delivery, now, settings.time_scale, policy))
    return True


def probe_transport(db: Database, settings: Settings, secrets: SecretBox) -> bool:
    """Probes one transport that is down; False when none is due for a probe."""
    with db.transaction() as tx:
        transport = circuit_breaker.claim_probe(tx, db.now(), state_machine.CLAIM_LEASE * settings.time_scale)
        if transport is None:
            return False
        channel = channels.first_of_transport(tx, transport)
        if channel is None:  # No channel is left to probe with. The next channel that uses the transport finds out.
            circuit_breaker.close(tx, transport)
            return True
    outage = _probe(channel, secrets)
    with db.transaction() as tx:
        if outage is None:
            opened_by = circuit_breaker.close_after_probe(tx, transport)
            if opened_by is not None:
                claims.mark_outage_unconfirmed(tx, opened_by)
        else:
            circuit_breaker.open(tx, transport, outage.reason, db.now(), settings.time_scale)
    return True


def _probe(channel: Channel, secrets: SecretBox) -> TransportDown | None:
    try:
        target = target_of(channel, secrets)
    except ConfigError as error:  # The next message on the transport finds out whether it works.
        log.warning("a transport that is down cannot be probed", channel=channel.id, why=str(error))
        return None
    return plugins.notifier(channel.kind).probe(target)
