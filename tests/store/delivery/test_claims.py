"""Claims: the rule in SQL and the rule of the state machine say the same."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, select

from services.domain.delivery.state_machine import ChannelState, Delivery, DeliveryKind, State, is_claimable
from services.store.accounts import accounts
from services.store.db.database import Database
from services.store.db.tables import channel, delivery, installation, rate_limit, transport
from services.store.delivery import claims

NOW = datetime(2026, 5, 4, 8, tzinfo=UTC)
TIMES = st.sampled_from([NOW + timedelta(seconds=seconds) for seconds in (-3600, -1, 0, 1, 3600)])
DELIVERIES = st.builds(
    Delivery,
    kind=st.sampled_from(DeliveryKind),
    state=st.sampled_from(State),
    attempt=st.integers(0, 3),
    ambiguous_resends=st.integers(0, 2),
    expired_leases=st.integers(0, 2),
    bytes_final=st.booleans(),
    refused_since=st.none() | TIMES,
    next_attempt_at=st.none() | TIMES,
    error=st.just(""),
    receipt=st.just(""),
)
RARELY = st.sampled_from([False] * 7 + [True])
"""Most channels can be sent to, so that the other conditions decide."""
CHANNELS = st.builds(
    ChannelState,
    verified=RARELY.map(lambda unverified: not unverified),
    disabled=RARELY,
    unsubscribed=RARELY,
    deleted=RARELY,
    transport_down=RARELY,
    rate_limited_until=st.tuples(st.none() | TIMES, st.none() | TIMES),
)
Case = tuple[Delivery, ChannelState]


class _RolledBack(Exception):
    """Ends a transaction without a trace."""


def _insert(tx: Connection, account_id: int, number: int, case: Case) -> int:
    """Stores a delivery on a channel of its own, with a transport and a rate limit of its own; its id."""
    state, on = case
    of_channel, of_transport = (f"{kind}-{number}" for kind in ("channel", "transport"))
    for key, until in zip((of_channel, of_transport), on.rate_limited_until, strict=True):
        if until is not None:
            tx.execute(insert(rate_limit).values(key=key, available_at=until))
    if on.transport_down:
        tx.execute(insert(transport).values(key=of_transport, down_because="no answer"))
    channel_values: dict[str, Any] = {
        "account_id": account_id,
        "kind": "email",
        "label": f"reader{number}@example.org",
        "target": {},
        "transport": of_transport,
        "rate_limit_key": of_channel,
        "verified": on.verified,
        "disabled_because": "refused" if on.disabled else "",
        "unsubscribed_at": NOW if on.unsubscribed else None,
        "deleted_at": NOW if on.deleted else None,
    }
    channel_id = tx.scalars(insert(channel).values(channel_values).returning(channel.c.id)).one()
    values = {
        "account_id": account_id,
        "channel_id": channel_id,
        "kind": state.kind,
        "idem_key": f"key-{number}",
        "rate_limit_key": of_channel,
        "message_id": f"<{number}@example.org>",
        "state": state.state,
        "attempt": state.attempt,
        "ambiguous_resends": state.ambiguous_resends,
        "expired_leases": state.expired_leases,
        "bytes_final": state.bytes_final,
        "refused_since": state.refused_since,
        "next_attempt_at": state.next_attempt_at,
    }
    return int(tx.scalars(insert(delivery).values(values).returning(delivery.c.id)).one())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(DELIVERIES, CHANNELS), min_size=8, max_size=24), RARELY)
def test_what_the_database_claims_is_what_the_state_machine_allows(
    db: Database, cases: Sequence[Case], paused: bool
) -> None:
    try:
        with db.transaction() as tx:
            account_id = accounts.add(tx, "ada@example.org", "UTC")
            because = "copied" if paused else ""
            tx.execute(insert(installation).values(id=1, system_identifier="1", paused_because=because))
            ids = [_insert(tx, account_id, number, case) for number, case in enumerate(cases)]
            allowed = {
                id
                for id, (state, on) in zip(ids, cases, strict=True)
                if is_claimable(state, NOW, replace(on, sending_paused=paused))
            }
            assert set(tx.scalars(select(delivery.c.id).where(claims.sendable(NOW)))) == allowed
            assert {due.delivery.id for due in claims.lock_due(tx, NOW, len(cases))} == allowed
            raise _RolledBack
    except _RolledBack:
        pass
