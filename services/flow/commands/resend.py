"""Sends what a person asks for: a test message on a channel, or a failed delivery once more."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from services import plugins
from services.domain.delivery import state_machine
from services.domain.delivery.state_machine import DeliveryKind
from services.domain.digests.trial import Trial
from services.errors import Busy, Conflict
from services.ports import AcceptanceAwaiting
from services.settings import Settings
from services.store.db import rate_limits
from services.store.db.database import Database, lock, wake
from services.store.delivery import channels, deliveries
from services.store.delivery.records import Channel, NewDelivery

TESTS_COUNTED_FOR = timedelta(hours=1)
"""For the limit PAPERWIRE_TESTS_PER_HOUR. Each test message goes to a host or an address that the account chose."""
MAX_RETRIES = 30
"""Deliveries that an account sends again within an hour."""
RETRY_PAUSE = timedelta(minutes=5)
"""Between two retries of one delivery."""


@dataclass(frozen=True, slots=True)
class TestDelivery:
    """A test message, and the label of its channel."""

    delivery_id: int
    label: str


def send_test(
    db: Database, settings: Settings, channel_id: int, account_id: int | None = None, trial: Trial | None = None
) -> TestDelivery:
    """Sends a test message, or the trial digest of a preview, which counts as one.

    Raises NotFound, Conflict, and Busy when the account `account_id` asked for too many.

    Without `account_id` an operator asks, who may send any number.
    """
    host = settings.host
    with db.transaction() as tx:
        channel = channels.find(tx, channel_id, account_id)
        if channel.unsubscribed_at:
            raise Conflict(f"channel {channel_id} is unsubscribed; subscribe it again first")
        if not channel.verified:
            raise Conflict(f"channel {channel_id} is not confirmed: its owner has to follow the mailed link first")
        if channel.disabled_because:
            raise Conflict(f"channel {channel_id} is disabled: {channel.disabled_because}; enable it first")
        if account_id is not None:
            _check_test_limit(tx, account_id, settings.tests_per_hour, db.now(tx))
        _check_acceptance(tx, channel, by_operator=account_id is None)
        key = f"test:{channel_id}:{secrets.token_hex(8)}"
        test = NewDelivery(
            account_id=channel.account_id,
            channel_id=channel_id,
            kind=DeliveryKind.TEST,
            idem_key=key,
            trial=trial.as_json() if trial else None,
        )
        delivery_id = deliveries.create(tx, test, host)
        assert delivery_id is not None, "its key is random"
        wake(tx, "deliver")
    return TestDelivery(delivery_id, channel.label)


def _check_acceptance(tx: Connection, channel: Channel, *, by_operator: bool) -> None:
    """Raises Conflict when a message waits already for a server that has accepted none; an operator's is tried now."""
    if channel.accepted_at is not None or not isinstance(plugins.notifier(channel.kind), AcceptanceAwaiting):
        return
    if by_operator:
        rate_limits.release(tx, channel.transport)
    elif deliveries.is_waiting(tx, channel.id):
        raise Conflict(
            f"channel {channel.id} has not answered with 2xx yet, so it gets one attempt an hour, "
            "and a message waits for the next one already"
        )


def _check_test_limit(tx: Connection, account_id: int, most: int, now: datetime) -> None:
    lock(tx, f"tests:{account_id}")
    sent = deliveries.count_tests(tx, account_id, now - TESTS_COUNTED_FOR)
    if sent >= most:
        raise Busy(f"an account sends at most {most} test messages an hour; try again later")


def retry(db: Database, delivery_id: int, account_id: int | None = None) -> None:
    """Sends a delivery again that is dead or may not have arrived.

    Raises NotFound, Conflict, and Busy when the account `account_id` asked too often. Without `account_id` an operator
    asks, who may retry any number.
    """
    now = db.now()
    with db.transaction() as tx:
        delivery = deliveries.lock(tx, delivery_id, account_id)
        if delivery.kind is DeliveryKind.CONFIRM:
            raise Conflict(f"delivery {delivery_id} is a confirmation mail; send a new one with: paperwire channel ask")
        if not state_machine.can_replay(delivery.kind, delivery.state, delivery.next_attempt_at):
            raise Conflict(
                f"delivery {delivery_id} is {delivery.state}; only a delivery that failed for good is retried"
            )
        if channels.find(tx, delivery.channel_id).unsubscribed_at:
            raise Conflict(f"channel {delivery.channel_id} is unsubscribed; subscribe it again first")
        if account_id is not None:
            _check_retry_limit(tx, account_id, delivery_id, now)
        deliveries.store_replayed(tx, state_machine.replay(delivery, now))
        wake(tx, "deliver")


def _check_retry_limit(tx: Connection, account_id: int, delivery_id: int, now: datetime) -> None:
    lock(tx, f"retries:{account_id}")
    if deliveries.count_replayed(tx, account_id, now - timedelta(hours=1)) >= MAX_RETRIES:
        raise Busy(f"an account sends at most {MAX_RETRIES} deliveries again an hour; try again later")
    last = deliveries.replayed_at(tx, delivery_id)
    if last is not None and last > now - RETRY_PAUSE:
        raise Busy("this delivery was sent again a moment ago; wait five minutes before the next try")
