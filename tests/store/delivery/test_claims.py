"""Claims: the rule in SQL and the rule of the state machine say the same."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, select

from services.domain.delivery.state_machine import ChannelState, Delivery, DeliveryKind, State, is_claimable
from services.store.accounts import accounts
from services.store.db.database import Database
from services.store.db.tables import channel, delivery, installation, rate_limit, transport
from services.store.delivery import claims

NOW = datetime(2026, 5, 4, 8, tzinfo=UTC)
BEFORE, AFTER = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)
RARELY = st.sampled_from([False] * 7 + [True])
# Each condition holds more often than not, so that many cases depend on a single condition.
DELIVERIES = st.builds(
    Delivery,
    kind=st.sampled_from([DeliveryKind.CONFIRM] * 5 + list(DeliveryKind)),
    state=st.sampled_from([State.PENDING, State.UNCERTAIN] * 5 + list(State)),
    attempt=st.integers(0, 3),
    ambiguous_resends=st.integers(0, 2),
    expired_leases=st.integers(0, 2),
    bytes_final=st.booleans(),
    refused_since=st.sampled_from([None, BEFORE, AFTER]),
    next_attempt_at=st.sampled_from([BEFORE, BEFORE, NOW, NOW, AFTER, None]),
    error=st.just(""),
    receipt=st.just(""),
)
LIMITED_UNTIL = st.sampled_from([None, BEFORE, BEFORE, NOW, NOW, AFTER])
CHANNELS = st.builds(
    ChannelState,
    verified=st.booleans(),
    disabled=RARELY,
    unsubscribed=RARELY,
    deleted=RARELY,
    transport_down=RARELY,
    rate_limited_until=st.tuples(LIMITED_UNTIL, LIMITED_UNTIL),
)
Case = tuple[Delivery, ChannelState]


class _RolledBack(Exception):
    """Ends a transaction without writing anything."""


def _store(tx: Connection, cases: Sequence[Case]) -> list[int]:
    """Stores each delivery on a channel with a transport and a rate limit of its own; returns the deliveries' ids."""
    account_id = accounts.add(tx, "ada@example.org", "UTC")
    limits = [
        {"key": f"{name}-{number}", "available_at": until}
        for number, (_, on) in enumerate(cases)
        for name, until in zip(("channel", "transport"), on.rate_limited_until, strict=True)
        if until is not None
    ]
    down = [{"key": f"transport-{number}"} for number, (_, on) in enumerate(cases) if on.transport_down]
    for table, rows in ((rate_limit, limits), (transport, [{**row, "down_because": "no answer"} for row in down])):
        if rows:
            tx.execute(insert(table), rows)
    channels = [
        {
            "account_id": account_id,
            "kind": "email",
            "label": f"reader{number}@example.org",
            "target": {},
            "transport": f"transport-{number}",
            "rate_limit_key": f"channel-{number}",
            "verified": on.verified,
            "disabled_because": "refused" if on.disabled else "",
            "unsubscribed_at": NOW if on.unsubscribed else None,
            "deleted_at": NOW if on.deleted else None,
        }
        for number, (_, on) in enumerate(cases)
    ]
    channel_ids = tx.scalars(insert(channel).returning(channel.c.id, sort_by_parameter_order=True), channels).all()
    deliveries = [
        {
            **asdict(stored),
            "account_id": account_id,
            "channel_id": channel_id,
            "idem_key": f"key-{number}",
            "rate_limit_key": f"channel-{number}",
            "message_id": f"<{number}@example.org>",
        }
        for number, (channel_id, (stored, _)) in enumerate(zip(channel_ids, cases, strict=True))
    ]
    return list(tx.scalars(insert(delivery).returning(delivery.c.id, sort_by_parameter_order=True), deliveries))


# Shrinking is left out, since each step takes a transaction; the assertion shows only the cases that differ.
@settings(
    max_examples=40,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(DELIVERIES, CHANNELS), min_size=20, max_size=60), RARELY)
def test_the_database_claims_what_the_state_machine_allows(db: Database, cases: Sequence[Case], paused: bool) -> None:
    with suppress(_RolledBack), db.transaction() as tx:
        paused_because = "copied" if paused else ""
        tx.execute(insert(installation).values(id=1, system_identifier="1", paused_because=paused_because))
        ids = _store(tx, cases)
        sendable = set(tx.scalars(select(delivery.c.id).where(claims.sendable(NOW))))
        locked = {due.delivery.id for due in claims.lock_due(tx, NOW, len(cases))}
        differing = [
            (stored, on)
            for delivery_id, (stored, on) in zip(ids, cases, strict=True)
            if {delivery_id in sendable, delivery_id in locked}
            != {is_claimable(stored, NOW, replace(on, sending_paused=paused))}
        ]
        assert differing == []
        raise _RolledBack
