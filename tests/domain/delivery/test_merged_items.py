"""Which item of a channel is kept when two papers merge."""

from datetime import UTC, datetime, timedelta

import pytest

from services.domain.delivery.merged_items import Item, Stage, settle, stage_of
from services.domain.delivery.state_machine import State

NOW = datetime(2026, 5, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "stage"),
    [
        (None, Stage.WAITS),
        (State.PENDING, Stage.GATHERED),
        (State.CLAIMED, Stage.CLAIMED),
        (State.SENDING, Stage.SENT),
        (State.UNCERTAIN, Stage.SENT),
        (State.SENT, Stage.SENT),
        (State.DEAD, Stage.GONE),
        (State.CANCELLED, Stage.GONE),
    ],
)
def test_the_stage_of_an_item(state: State | None, stage: Stage) -> None:
    assert stage_of(dropped=False, state=state, bytes_final=False) is stage
    assert stage_of(dropped=True, state=state, bytes_final=False) is Stage.GONE


def test_an_item_whose_send_was_uncertain_counts_as_sent() -> None:
    assert stage_of(dropped=False, state=State.PENDING, bytes_final=True) is Stage.SENT


@pytest.mark.parametrize("kept", Stage)
@pytest.mark.parametrize("replaced", Stage)
def test_the_item_at_the_higher_stage_wins_and_an_unsent_other_is_dropped(kept: Stage, replaced: Stage) -> None:
    settled = settle(Item(kept, NOW, "daily"), Item(replaced, NOW, "daily"))
    assert settled.replaced_wins == (replaced > kept)
    assert settled.drop_other == (min(kept, replaced) in (Stage.WAITS, Stage.GATHERED))


def test_of_two_waiting_items_one_is_kept_at_the_earlier_time() -> None:
    soon, late = Item(Stage.WAITS, NOW, "immediate"), Item(Stage.WAITS, NOW + timedelta(days=1), "weekly")
    for kept, replaced in ((soon, late), (late, soon)):
        settled = settle(kept, replaced)
        assert (settled.replaced_wins, settled.not_before, settled.cadence) == (False, NOW, "immediate")


def test_a_waiting_item_keeps_its_time_when_the_other_was_dropped() -> None:
    dropped, waits = Item(Stage.GONE, NOW, "immediate"), Item(Stage.WAITS, NOW + timedelta(days=1), "weekly")
    assert settle(dropped, waits).not_before == waits.not_before
