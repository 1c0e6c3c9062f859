"""What people have sent by hand: a test of a channel, and another try of what failed."""

import secrets
from urllib.parse import urlsplit

from services.domain.delivery import state_machine
from services.domain.delivery.state_machine import DeliveryKind
from services.errors import Conflict
from services.settings import Settings
from services.store.db.database import Database, Row, wake
from services.store.delivery import channels, deliveries
from services.store.delivery.records import NewDelivery


def send_test(db: Database, settings: Settings, channel_id: int, account_id: int | None = None) -> Row:
    """Sends a short test; the channel, with the `delivery` it became. Raises NotFound, Conflict."""
    host = urlsplit(settings.base_url).hostname or "localhost"
    with db.transaction() as tx:
        row = channels.find(tx, channel_id, account_id)
        if row["unsubscribed_at"]:
            raise Conflict(f"channel {channel_id} is unsubscribed; subscribe it again first")
        if not row["verified"]:
            raise Conflict(f"channel {channel_id} is not confirmed: its owner has to agree first, by the mailed link")
        if row["disabled_because"]:
            raise Conflict(f"channel {channel_id} is disabled: {row['disabled_because']}; enable it first")
        key = f"test:{channel_id}:{secrets.token_hex(8)}"
        test = NewDelivery(account_id=row["account_id"], channel_id=channel_id, kind=DeliveryKind.TEST, idem_key=key)
        made = deliveries.create(tx, test, host)
        wake(tx, "deliver")
    return {**row, "delivery": made}


def retry(db: Database, delivery_id: int, account_id: int | None = None) -> None:
    """Sends a dead delivery, or one that may not have arrived, again. Raises NotFound, Conflict."""
    now = db.now()
    with db.transaction() as tx:
        delivery = deliveries.lock(tx, delivery_id, account_id)
        if delivery.kind is DeliveryKind.CONFIRM:
            raise Conflict(f"delivery {delivery_id} asks an address whether it agrees; ask it again on its channel")
        if not state_machine.can_replay(delivery.kind, delivery.state, delivery.next_attempt_at):
            raise Conflict(f"delivery {delivery_id} is {delivery.state}; only what failed for good is tried again")
        if channels.find(tx, delivery.channel_id)["unsubscribed_at"]:
            raise Conflict(f"channel {delivery.channel_id} is unsubscribed; subscribe it again first")
        deliveries.store_replayed(tx, state_machine.replay(delivery, now))
        wake(tx, "deliver")
