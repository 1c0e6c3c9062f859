"""Expressions over clauses. Each distinct one is stored once, in flat arrays that are indexed by its slot number."""

from array import array

import numpy as np
from numpy.typing import NDArray

from services.domain.query.percolator.postings import Ints

RESERVED_SLOTS = 3
TRUE, TITLE, ABSTRACT = range(RESERVED_SLOTS)
"""Reserved slots: `TRUE` always holds; the phrases of a field begin with `TITLE` or `ABSTRACT`."""
CLAUSE, PHRASE, AND, OR = range(4)
"""The kind of a slot: a clause without operands, a phrase with the word after it, or a conjunction or disjunction.

Expressions have two operands. Of more operands, the first two are an expression of their own, which is often shared.
"""
_KIND_AT, _LEFT_AT = 62, 31


class ExpressionGraph:
    """Slots with their operands, reference-counted. A slot without references is reused.

    An operand is a literal: twice the slot, plus one if it is negated. Only clauses are negated.
    """

    def __init__(self) -> None:
        self.slots: dict[int, int] = {}
        """By `key`."""
        self.kind = array("b")
        self.level = array("h")
        """The depth of nested expressions; 0 for clauses and phrases, which are not evaluated from their operands."""
        self.left = array("i")
        self.right = array("i")
        self.frequency = array("i")
        """The number of papers so far in which each slot held."""
        self.new_expressions: list[int] = []
        """Expressions added since the percolator last cleared the list."""
        self._references = array("i")
        self._free: list[int] = []
        for _ in range(RESERVED_SLOTS):
            self.retain(self.add_clause())

    def __len__(self) -> int:
        """The number of slots in use, without the reserved ones."""
        return self.size - len(self._free) - RESERVED_SLOTS

    @property
    def size(self) -> int:
        """One more than the highest slot."""
        return len(self.kind)

    def add_clause(self) -> int:
        """A new slot for a clause."""
        return self._new(CLAUSE, 2 * TRUE + 1, 2 * TRUE + 1, 0)

    def pair(self, kind: int, left: int, right: int) -> int:
        """The slot of an expression of two literals, which the expression references."""
        packed = key(kind, left, right)
        slot = self.slots.get(packed)
        if slot is None:
            level = 0 if kind == PHRASE else 1 + max(self.level[left >> 1], self.level[right >> 1])
            slot = self.slots[packed] = self._new(kind, left, right, level)
            self.retain(left >> 1)
            self.retain(right >> 1)
            if level:
                self.new_expressions.append(slot)
        return slot

    def retain(self, slot: int) -> None:
        self._references[slot] += 1

    def references(self, slot: int) -> int:
        """The number of queries and expressions that use the slot."""
        return self._references[slot]

    def release(self, slot: int) -> list[int]:
        """Drops one reference. Returns the clauses that have no reference left, which the clause index must forget."""
        unused_clauses, pending = [], [slot]
        while pending:
            slot = pending.pop()
            self._references[slot] -= 1
            if self._references[slot] == 0:
                left, right = self.left[slot], self.right[slot]
                if self.kind[slot] == CLAUSE:
                    unused_clauses.append(slot)
                else:
                    del self.slots[key(self.kind[slot], left, right)]
                    pending += (left >> 1, right >> 1)
                self._clear(slot)
                self._free.append(slot)
        return unused_clauses

    def _clear(self, slot: int) -> None:
        """A free slot can still be listed under its former operands, so it becomes a clause that never holds."""
        self.kind[slot], self.level[slot], self.frequency[slot] = CLAUSE, 0, 0
        self.left[slot] = self.right[slot] = 2 * TRUE + 1

    def _new(self, kind: int, left: int, right: int, level: int) -> int:
        if not self._free:
            self._free.append(self.size)
            for column in (self.kind, self.level, self.left, self.right, self.frequency, self._references):
                column.append(0)
        slot = self._free.pop()
        self.kind[slot], self.level[slot], self.left[slot], self.right[slot] = kind, level, left, right
        return slot


def key(kind: int, left: int, right: int) -> int:
    """An expression packed into one integer."""
    return kind << _KIND_AT | left << _LEFT_AT | right


def phrase_keys(phrases: Ints, words: Ints) -> NDArray[np.int64]:
    """The keys of phrases that are extended by one word each; both are given as slots."""
    return (PHRASE << _KIND_AT) + (phrases.astype(np.int64) << (_LEFT_AT + 1)) + 2 * words
