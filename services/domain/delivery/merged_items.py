"""Delivery items of merged papers: which of the two items of a channel is kept, so that nothing is sent twice."""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from services.domain.delivery.state_machine import State


class Stage(IntEnum):
    """The progress of an item on its channel. When two papers merge, the item at the higher stage is kept."""

    GONE = 0
    """Dropped, cancelled or failed for good."""
    WAITS = 1
    GATHERED = 2
    """In a delivery that no worker has claimed."""
    CLAIMED = 3
    """In a delivery that a worker has claimed; the worker is not interrupted."""
    SENT = 4
    """Sent, or perhaps sent."""


@dataclass(frozen=True, slots=True)
class Item:
    """The fields of a delivery item that `settle` compares."""

    stage: Stage
    not_before: datetime
    cadence: str


@dataclass(frozen=True, slots=True)
class Settlement:
    """What becomes of two items on one channel.

    `replaced_wins`: the item of the replaced paper is kept instead of the item of the kept paper. The kept item gets
    `not_before` and `cadence`. `drop_other`: the other item is dropped.
    """

    replaced_wins: bool
    not_before: datetime
    cadence: str
    drop_other: bool


def stage_of(*, dropped: bool, state: State | None, bytes_final: bool) -> Stage:
    """The stage of an item; `state` and `bytes_final` are those of its delivery, None and False without one."""
    if dropped:
        return Stage.GONE
    if bytes_final or state in (State.SENT, State.SENDING, State.UNCERTAIN):
        return Stage.SENT
    if state is None:
        return Stage.WAITS
    return {State.PENDING: Stage.GATHERED, State.CLAIMED: Stage.CLAIMED}.get(state, Stage.GONE)


def settle(kept: Item, replaced: Item) -> Settlement:
    """The item at the higher stage wins. When both wait, the winner is sent at the earlier of the two times."""
    replaced_wins = replaced.stage > kept.stage
    winner, other = (replaced, kept) if replaced_wins else (kept, replaced)
    both_wait = winner.stage is other.stage is Stage.WAITS
    timing = min(kept, replaced, key=lambda item: item.not_before) if both_wait else winner
    drop_other = other.stage in (Stage.WAITS, Stage.GATHERED)
    return Settlement(replaced_wins, timing.not_before, timing.cadence, drop_other)


def merged_with(paper_id: int) -> str:
    """Why an item of a replaced paper is not sent."""
    return f"merged with paper {paper_id}"
