"""Lists under numbers, flat: one array of all values, one of where each number's values begin."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.signedinteger[Any]]
Masks = NDArray[np.uint64]
"""Papers, up to 64, as bits."""


class Postings:
    """Made at once from pairs; the values under one number lie together."""

    def __init__(self, numbers: Ints, values: Ints) -> None:
        self.values = values[np.argsort(numbers, kind="stable")]
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(numbers))]).astype(np.int32)

    @classmethod
    def empty(cls) -> Postings:
        return cls(np.empty(0, np.int32), np.empty(0, np.int64))

    def under(self, number: int) -> Ints:
        """The values of one number, in place."""
        return self.values[self._starts[number] : self._starts[number + 1]]

    def listing(self, numbers: Ints) -> Ints:
        """Where in `numbers` those are that have any values."""
        known = np.minimum(numbers, len(self._starts) - 2)
        if len(self._starts) == 1:
            return np.empty(0, np.int64)
        return np.flatnonzero((self._starts[known] < self._starts[known + 1]) & (known == numbers))

    def of(self, numbers: Ints) -> tuple[Ints, Ints]:
        """The values of all numbers, each of which has some, one list after the other, and their counts."""
        starts = self._starts[numbers]
        counts = self._starts[numbers + 1] - starts
        ends = np.cumsum(counts)
        if not len(ends):
            return self.values[:0], counts
        places = np.repeat(starts - (ends - counts), counts)
        places += np.arange(ends[-1], dtype=places.dtype)
        return self.values[places], counts


def set_bits(masks: Masks) -> tuple[Ints, Ints]:
    """(number of the bit, index of the mask) of each bit that is set."""
    octets = masks.astype("<u8", copy=False).view(np.uint8)
    some = np.flatnonzero(octets != 0)
    at = np.flatnonzero(np.unpackbits(octets[some], bitorder="little").view(np.bool_))
    octet = some[at >> 3]
    return ((octet & 7) << 3) | (at & 7), octet >> 3
