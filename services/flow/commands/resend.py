"""What people have sent by hand: a test of a channel, and another try of what failed."""

import secrets
from urllib.parse import urlsplit

from services.domain.delivery import state_machine as domain
from services.domain.delivery.state_machine import State
from services.errors import Conflict
from services.settings import Settings
from services.store.db.database import Database, Row, wake
from services.store.delivery import channels, deliveries
from services.store.delivery.opt_in import ASKING


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
        made = deliveries.create(tx, row, "test", key, host)
        wake(tx, "deliver")
    return {**row, "delivery": made}


def retry(db: Database, delivery_id: int, account_id: int | None = None) -> None:
    """Lets a dead delivery, or one that may not have arrived, be sent again. Raises NotFound, Conflict."""
    now = db.now()
    with db.transaction() as tx:
        row = deliveries.lock_one(tx, delivery_id, account_id)
        if row["kind"] == ASKING:
            raise Conflict(f"delivery {delivery_id} asks an address whether it agrees; ask it again on its channel")
        if not may_retry(row):
            raise Conflict(f"delivery {delivery_id} is {row['state']}; only what failed for good is tried again")
        if channels.find(tx, row["channel_id"])["unsubscribed_at"]:
            raise Conflict(f"channel {row['channel_id']} is unsubscribed; subscribe it again first")
        deliveries.set_state(tx, delivery_id, domain.replay(deliveries.state_of(row), now))
        wake(tx, "deliver")


def may_retry(row: Row) -> bool:
    """Dead, or in doubt with its one resend spent: nothing happens to it any more without a person.

    Not the question whether an address agrees: that is asked anew, and only so often.
    """
    over = row["state"] == State.DEAD or (row["state"] == State.UNCERTAIN and row["next_attempt_at"] is None)
    return bool(over and row["kind"] != ASKING)
