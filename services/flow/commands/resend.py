"""Sends what a person asks for: a test message on a channel, or a failed delivery once more."""

import secrets
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from services.domain.delivery import state_machine as domain
from services.domain.delivery.opt_in import OPT_IN_REQUEST
from services.domain.delivery.state_machine import State
from services.errors import Conflict
from services.settings import Settings
from services.store.db.database import Database, Row, wake
from services.store.delivery import channels, deliveries


@dataclass(frozen=True, slots=True)
class TestDelivery:
    """A test message, and the label of its channel."""

    delivery_id: int
    label: str


def send_test(db: Database, settings: Settings, channel_id: int, account_id: int | None = None) -> TestDelivery:
    """Sends a test message. Raises NotFound, Conflict."""
    host = urlsplit(settings.base_url).hostname or "localhost"
    with db.transaction() as tx:
        channel = channels.find(tx, channel_id, account_id)
        if channel.unsubscribed_at:
            raise Conflict(f"channel {channel_id} is unsubscribed; subscribe it again first")
        if not channel.verified:
            raise Conflict(f"channel {channel_id} is not confirmed: its owner has to follow the mailed link first")
        if channel.disabled_because:
            raise Conflict(f"channel {channel_id} is disabled: {channel.disabled_because}; enable it first")
        key = f"test:{channel_id}:{secrets.token_hex(8)}"
        delivery_id = deliveries.create(tx, asdict(channel), "test", key, host)
        assert delivery_id is not None, "its key is random"
        wake(tx, "deliver")
    return TestDelivery(delivery_id, channel.label)


def retry(db: Database, delivery_id: int, account_id: int | None = None) -> None:
    """Sends a delivery again that is dead or may not have arrived. Raises NotFound, Conflict."""
    now = db.now()
    with db.transaction() as tx:
        row = deliveries.lock_one(tx, delivery_id, account_id)
        if row["kind"] == OPT_IN_REQUEST:
            raise Conflict(f"delivery {delivery_id} is an opt-in request; send a new one with: paperwire channel ask")
        if not can_retry(row):
            raise Conflict(f"delivery {delivery_id} is {row['state']}; only a delivery that failed for good is retried")
        if channels.find(tx, row["channel_id"]).unsubscribed_at:
            raise Conflict(f"channel {row['channel_id']} is unsubscribed; subscribe it again first")
        deliveries.set_state(tx, delivery_id, domain.replay(deliveries.state_of(row), now))
        wake(tx, "deliver")


def can_retry(row: Row) -> bool:
    """Whether a delivery is dead, or in doubt without another attempt of its own.

    An opt-in request is excluded: a new one is sent instead, within the limits for requests.
    """
    is_final = row["state"] == State.DEAD or (row["state"] == State.UNCERTAIN and row["next_attempt_at"] is None)
    return bool(is_final and row["kind"] != OPT_IN_REQUEST)
