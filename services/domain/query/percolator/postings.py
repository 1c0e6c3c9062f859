"""Postings: lists of values by number, in two flat arrays: all values, and where the values of each number begin."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.signedinteger[Any]]
Masks = NDArray[np.uint64]
"""One bit for each of up to 64 papers."""


class Postings:
    """Built once from pairs (number, value). The values of one number are adjacent."""

    def __init__(self, numbers: Ints, values: Ints) -> None:
        self.values = values[np.argsort(numbers, kind="stable")]
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(numbers))]).astype(np.int32)

    @classmethod
    def empty(cls) -> Postings:
        return cls(np.empty(0, np.int32), np.empty(0, np.int64))

    def view(self, number: int) -> Ints:
        """The values of one number, as a view that can be written to."""
        return self.values[self._starts[number] : self._starts[number + 1]]

    def nonempty(self, numbers: Ints) -> Ints:
        """The positions in `numbers` of those numbers that have values."""
        bounded = np.minimum(numbers, len(self._starts) - 2)
        if len(self._starts) == 1:
            return np.empty(0, np.int64)
        return np.flatnonzero((self._starts[bounded] < self._starts[bounded + 1]) & (bounded == numbers))

    def values_of(self, numbers: Ints) -> tuple[Ints, Ints]:
        """The values of all numbers, one list after the other, and the length of each list. Every number has values."""
        starts = self._starts[numbers]
        counts = self._starts[numbers + 1] - starts
        ends = np.cumsum(counts)
        if not len(ends):
            return self.values[:0], counts
        places = np.repeat(starts - (ends - counts), counts)
        places += np.arange(ends[-1], dtype=places.dtype)
        return self.values[places], counts


def set_bits(masks: Masks) -> tuple[Ints, Ints]:
    """(position of the bit, index of its mask) of each set bit."""
    octets = masks.astype("<u8", copy=False).view(np.uint8)
    nonzero = np.flatnonzero(octets != 0)
    at = np.flatnonzero(np.unpackbits(octets[nonzero], bitorder="little").view(np.bool_))
    octet = nonzero[at >> 3]
    return ((octet & 7) << 3) | (at & 7), octet >> 3
