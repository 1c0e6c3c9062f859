"""Expressions over clauses, each distinct one kept once, in flat arrays by number: its slot."""

from array import array

import numpy as np
from numpy.typing import NDArray

from services.domain.query.percolator.postings import Ints

RESERVED_SLOTS = 3
TRUE, TITLE, ABSTRACT = range(RESERVED_SLOTS)
"""Slots that are always there: what always holds, and where the phrases of one field begin."""
CLAUSE, PHRASE, AND, OR = range(4)
"""What a slot is: a clause without operands, a phrase and the word after it, both of two, either of two.

Two operands are enough: of more, the first two are an expression of their own, often shared.
"""
_KIND_AT, _LEFT_AT = 62, 31


class ExpressionGraph:
    """Slots with their operands; one that nobody uses any more is free for the next expression.

    An operand is a literal: twice the slot, plus one for its contrary. Only clauses are negated.
    """

    def __init__(self) -> None:
        self.slots: dict[int, int] = {}
        """By `key`."""
        self.kind = array("b")
        self.level = array("h")
        """How many expressions deep the operands are; 0 for what has no value of its own to work out."""
        self.left = array("i")
        self.right = array("i")
        self.seen = array("i")
        """How many of the papers so far each slot held in."""
        self.fresh: list[int] = []
        """Expressions made since whoever reads this has emptied it."""
        self._users = array("i")
        self._free: list[int] = []
        for _ in range(RESERVED_SLOTS):
            self.hold(self.clause())

    def __len__(self) -> int:
        """How many slots are in use beside those that are always there."""
        return self.size - len(self._free) - RESERVED_SLOTS

    @property
    def size(self) -> int:
        """One more than the largest slot."""
        return len(self.kind)

    def clause(self) -> int:
        """A new slot for a clause."""
        return self._new(CLAUSE, 2 * TRUE + 1, 2 * TRUE + 1, 0)

    def pair(self, kind: int, left: int, right: int) -> int:
        """The slot of an expression of two literals, which it uses from now on."""
        place = key(kind, left, right)
        slot = self.slots.get(place)
        if slot is None:
            level = 0 if kind == PHRASE else 1 + max(self.level[left >> 1], self.level[right >> 1])
            slot = self.slots[place] = self._new(kind, left, right, level)
            self.hold(left >> 1)
            self.hold(right >> 1)
            if level:
                self.fresh.append(slot)
        return slot

    def hold(self, slot: int) -> None:
        self._users[slot] += 1

    def users(self, slot: int) -> int:
        """How many subscriptions and expressions use it."""
        return self._users[slot]

    def release(self, slot: int) -> list[int]:
        """Ends one use; returns the clauses that nobody uses now, to be forgotten by who knows their meaning."""
        forgotten, waiting = [], [slot]
        while waiting:
            slot = waiting.pop()
            self._users[slot] -= 1
            if self._users[slot] == 0:
                left, right = self.left[slot], self.right[slot]
                if self.kind[slot] == CLAUSE:
                    forgotten.append(slot)
                else:
                    del self.slots[key(self.kind[slot], left, right)]
                    waiting += (left >> 1, right >> 1)
                self._clear(slot)
                self._free.append(slot)
        return forgotten

    def _clear(self, slot: int) -> None:
        """A free slot can still be listed under its former operands, so it must be something that never holds."""
        self.kind[slot], self.level[slot], self.seen[slot] = CLAUSE, 0, 0
        self.left[slot] = self.right[slot] = 2 * TRUE + 1

    def _new(self, kind: int, left: int, right: int, level: int) -> int:
        if not self._free:
            self._free.append(self.size)
            for column in (self.kind, self.level, self.left, self.right, self.seen, self._users):
                column.append(0)
        slot = self._free.pop()
        self.kind[slot], self.level[slot], self.left[slot], self.right[slot] = kind, level, left, right
        return slot


def key(kind: int, left: int, right: int) -> int:
    """One number for an expression."""
    return kind << _KIND_AT | left << _LEFT_AT | right


def phrase_keys(phrases: Ints, words: Ints) -> NDArray[np.int64]:
    """The keys of phrases, given as slots, with one more word each."""
    return (PHRASE << _KIND_AT) + (phrases.astype(np.int64) << (_LEFT_AT + 1)) + 2 * words
