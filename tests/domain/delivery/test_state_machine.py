"""The state machine: at most one extra copy, nothing lost, and it always ends."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.delivery import state_machine as machine
from services.domain.delivery.state_machine import (
    FINAL,
    ChannelState,
    Delivery,
    DeliveryKind,
    MaybeDelivered,
    Policy,
    Rejected,
    Retry,
    Sent,
    State,
    TransportDown,
)

NOW = datetime(2026, 5, 1, 8, tzinfo=UTC)
WAITING = Delivery(
    kind=DeliveryKind.DIGEST,
    state=State.PENDING,
    attempt=0,
    ambiguous_resends=0,
    expired_leases=0,
    bytes_final=False,
    refused_since=None,
    next_attempt_at=NOW,
    error="",
    receipt="",
)
CLAIMED = machine.claim(WAITING)
SENDING = machine.commit(CLAIMED)


def test_a_yes_ends_it() -> None:
    after = machine.record(SENDING, Sent("250 ok"), NOW)
    assert (after.state, after.receipt, after.next_attempt_at) == (State.SENT, "250 ok", None)


def test_a_transient_no_waits_longer_each_time() -> None:
    first = machine.record(SENDING, Retry("greylisted"), NOW)
    second = machine.record(machine.commit(machine.claim(first)), Retry("greylisted"), NOW)
    assert first.state is State.PENDING
    assert first.next_attempt_at == NOW + timedelta(minutes=1)
    assert second.next_attempt_at == NOW + timedelta(minutes=2)


def test_a_named_pause_is_kept() -> None:
    after = machine.record(SENDING, Retry("rate limited", after=3600), NOW)
    assert after.next_attempt_at == NOW + timedelta(hours=1)


def test_transient_refusals_end_after_48_hours() -> None:
    refused = machine.record(CLAIMED, Retry("451"), NOW)
    later = machine.record(machine.claim(refused), Retry("451"), NOW + timedelta(hours=48))
    assert later.state is State.DEAD


def test_a_held_transport_burns_no_attempt() -> None:
    after = machine.record(CLAIMED, TransportDown("connection refused"), NOW)
    assert (after.state, after.attempt) == (State.PENDING, 0)


def test_a_refused_channel_keeps_the_delivery_waiting() -> None:
    after = machine.record(SENDING, Rejected("channel_not_found", scope="channel"), NOW)
    assert (after.state, after.attempt) == (State.PENDING, 0)


def test_silence_before_the_point_of_no_return_is_a_retry() -> None:
    assert machine.record(CLAIMED, MaybeDelivered("timeout"), NOW).state is State.PENDING


def test_silence_after_it_freezes_the_bytes_and_waits_for_the_one_resend() -> None:
    after = machine.record(SENDING, MaybeDelivered("timeout"), NOW)
    assert (after.state, after.bytes_final, after.next_attempt_at) == (
        State.UNCERTAIN,
        True,
        NOW + timedelta(minutes=15),
    )


def test_a_second_silence_is_the_last() -> None:
    doubtful = machine.record(SENDING, MaybeDelivered("timeout"), NOW)
    again = machine.record(machine.commit(machine.claim(doubtful)), MaybeDelivered("timeout"), NOW + timedelta(hours=1))
    assert again.state is State.UNCERTAIN
    assert again.next_attempt_at is None
    assert not machine.is_claimable(again, NOW + timedelta(days=9), ChannelState())


@pytest.mark.parametrize("kind", sorted(machine.AT_MOST_ONCE_KINDS))
def test_what_people_ask_for_again_is_never_resent(kind: DeliveryKind) -> None:
    doubtful = machine.record(replace(SENDING, kind=kind), MaybeDelivered("timeout"), NOW)
    assert doubtful.next_attempt_at is None


def test_a_lost_worker_before_sending_costs_nothing_and_a_fifth_ends_it() -> None:
    one = machine.expire(CLAIMED, NOW)
    assert (one.state, one.next_attempt_at) == (State.PENDING, NOW)
    for _ in range(4):
        one = machine.expire(machine.claim(one), NOW)
    assert one.state is State.DEAD


def test_a_lost_worker_while_sending_is_a_doubt() -> None:
    assert machine.expire(SENDING, NOW).state is State.UNCERTAIN


def test_a_replay_starts_over() -> None:
    dead = replace(CLAIMED, state=State.DEAD, attempt=9, refused_since=NOW)
    again = machine.replay(dead, NOW)
    assert (again.state, again.attempt, again.refused_since) == (State.PENDING, 0, None)


OUTCOMES = st.sampled_from(
    [Sent(), Retry("no"), Rejected("no"), TransportDown("down"), MaybeDelivered("silence"), "lost"]
)


@given(st.lists(st.tuples(st.booleans(), OUTCOMES), max_size=60))
def test_whatever_happens_at_most_two_sends_are_in_doubt(story: list[tuple[bool, object]]) -> None:
    one, now, doubts = WAITING, NOW, 0
    for committed, outcome in story:
        if one.next_attempt_at is None:
            break
        now = max(now, one.next_attempt_at) + timedelta(seconds=1)
        assert machine.is_claimable(one, now, ChannelState())
        one = machine.claim(one)
        one = machine.commit(one) if committed else one
        one = machine.expire(one, now) if outcome == "lost" else machine.record(one, outcome, now)  # type: ignore[arg-type]
        doubts += one.state is State.UNCERTAIN
    assert doubts <= 2
    assert (one.next_attempt_at is None) == (one.state in FINAL or (one.state is State.UNCERTAIN and doubts == 2))


@given(st.lists(st.sampled_from([Retry("no"), MaybeDelivered("silence"), "lost"]), min_size=200, max_size=200))
def test_it_always_ends(story: list[object]) -> None:
    one, now = WAITING, NOW
    for outcome in story:
        if one.next_attempt_at is None:
            break
        now = one.next_attempt_at + timedelta(minutes=1)
        one = machine.commit(machine.claim(one))
        one = machine.expire(one, now) if outcome == "lost" else machine.record(one, outcome, now)  # type: ignore[arg-type]
    assert one.next_attempt_at is None


# ── policies ──────────────────────────────────────────────────────────────────────────────────────────────────

SCHEDULE = (timedelta(seconds=5), timedelta(minutes=5), timedelta(hours=2))
REPEATABLE = Policy(idempotent=True, retries=SCHEDULE)
POLICIES = st.builds(
    Policy,
    can_reconcile=st.booleans(),
    idempotent=st.booleans(),
    at_most_once=st.booleans(),
    retries=st.sampled_from([(), SCHEDULE]),
)


def test_a_schedule_takes_the_place_of_the_backoff_and_ends() -> None:
    one, now, pauses = WAITING, NOW, []
    while one.state is State.PENDING:
        one = machine.record(machine.commit(machine.claim(one)), Retry("500"), now, policy=REPEATABLE)
        pauses.append(one.next_attempt_at and one.next_attempt_at - now)
        now = one.next_attempt_at or now
    assert pauses == [*SCHEDULE, None]
    assert (one.state, one.error) == (State.DEAD, "given up after 4 attempts: 500")


def test_a_doubt_where_repeats_do_no_harm_is_one_more_failure_with_frozen_bytes() -> None:
    after = machine.record(SENDING, MaybeDelivered("silence"), NOW, policy=REPEATABLE)
    assert (after.state, after.bytes_final, after.next_attempt_at) == (State.PENDING, True, NOW + SCHEDULE[0])
    lost = machine.expire(SENDING, NOW, policy=REPEATABLE)
    assert (lost.state, lost.bytes_final) == (State.PENDING, True)


@pytest.mark.parametrize(("can_reconcile", "left"), [(False, None), (True, NOW + timedelta(minutes=15))])
def test_who_wants_nothing_twice_waits_only_for_a_look(can_reconcile: bool, left: datetime | None) -> None:
    policy = Policy(at_most_once=True, can_reconcile=can_reconcile)
    doubtful = machine.record(SENDING, MaybeDelivered("silence"), NOW, policy=policy)
    assert doubtful.next_attempt_at == left
    assert machine.expire(SENDING, NOW, policy=policy).next_attempt_at == left


def test_a_look_that_finds_nothing_out_ends_a_doubt_without_a_second_copy() -> None:
    policy = Policy(at_most_once=True, can_reconcile=True)
    doubtful = machine.record(SENDING, MaybeDelivered("silence"), NOW, policy=policy)
    after = machine.record(machine.claim(doubtful), MaybeDelivered("no scope"), NOW, policy=policy)
    assert (after.state, after.next_attempt_at) == (State.UNCERTAIN, None)


@given(
    POLICIES, st.lists(st.sampled_from([Retry("no"), MaybeDelivered("silence"), "lost"]), min_size=200, max_size=200)
)
def test_it_always_ends_whatever_the_policy(policy: Policy, story: list[object]) -> None:
    one, now, sent_in_doubt = WAITING, NOW, 0
    for outcome in story:
        if one.next_attempt_at is None:
            break
        now = one.next_attempt_at + timedelta(minutes=1)
        one = machine.commit(machine.claim(one))
        sent_in_doubt += outcome != Retry("no")
        lost = outcome == "lost"
        one = machine.expire(one, now, policy=policy) if lost else machine.record(one, outcome, now, policy=policy)  # type: ignore[arg-type]
    assert one.next_attempt_at is None
    if not policy.idempotent:
        assert sent_in_doubt <= (1 if policy.at_most_once and not policy.can_reconcile else 2)
