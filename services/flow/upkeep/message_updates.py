"""Updates sent messages whose papers have changed, in place of a second message."""

from services.domain.delivery.state_machine import KEPT_FOR_DISABLED_CHANNEL, DeliveryKind
from services.domain.digests import updates
from services.settings import Settings
from services.store.db.database import Database
from services.store.delivery import channels, deliveries, items, message_updates
from services.store.delivery.records import NewDelivery
from services.store.papers import merging, papers


def work(db: Database, settings: Settings) -> bool:
    """Checks one sent message for changes, and creates its update where it needs one; False when none is due."""
    with db.transaction() as tx:
        merging.lock_against_merges(tx)
        message = message_updates.claim_check(tx, db.now(tx))
        if message is None:
            return False
        current = updates.snapshot(papers.load(tx, items.paper_ids(tx, message.id)))
        if updates.needs_update(message.snapshot or {}, current):
            channel = channels.find(tx, message.channel_id)
            update = NewDelivery(
                account_id=message.account_id,
                channel_id=message.channel_id,
                kind=DeliveryKind.UPDATE,
                idem_key=f"update:{message.id}:{updates.idempotency_key(current)}",
                rate_limit_key=f"update:{channel.transport}",
                about=message.id,
            )
            deliveries.create(tx, update, settings.host)
    return True


def give_up(db: Database, settings: Settings) -> bool:
    """Drops the items and deliveries of one channel that was disabled for a week; False when there is none."""
    with db.transaction() as tx:
        return message_updates.drop_given_up(tx, db.now(tx), KEPT_FOR_DISABLED_CHANNEL * settings.time_scale)
