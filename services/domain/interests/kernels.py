"""The inner loops of the interests' index, in the part of Python that numba compiles."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.domain.interests.terms import TermTable

Ints = NDArray[np.int32]
Rows = NDArray[np.int64]
Vector = NDArray[np.float32]


class Postings(NamedTuple):
    """The terms of a batch of papers by their low 16 bits: those of `b` lie in `starts[b]:starts[b + 1]`."""

    starts: Ints
    terms: NDArray[np.uint32]
    papers: Ints
    values: Vector

    @classmethod
    def of(cls, table: TermTable) -> "Postings":
        low = table.ids.astype(np.uint16)
        order = np.argsort(low, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(low, minlength=1 << 16))]).astype(np.int32)
        papers = np.repeat(np.arange(len(table), dtype=np.int32), np.diff(table.offsets))
        return cls(starts, table.ids[order], papers[order], table.values[order])


class Words(NamedTuple):
    """The terms that each interest weighs: `counts` of them, from the left."""

    counts: NDArray[np.uint8]
    ids: NDArray[np.uint32]
    weights: Vector


def prefilter_int8(
    sums: Ints, steps: Vector, least: Vector, words: Words, postings: Postings, papers: Rows, rows: Rows, scores: Vector
) -> int:
    """How many pairs come up to `sum · step + words >= least`; each is written down with what its words add."""
    found, added = 0, np.zeros(sums.shape[1], np.float32)
    close = np.zeros((sums.shape[1] + 7) // 8 * 8, np.uint8)
    eights = close.view(np.uint64)
    for row in range(sums.shape[0]):
        step, limit = steps[row], least[row]
        for at in range(words.counts[row]):
            term = words.ids[row, at]
            for place in range(postings.starts[term & 0xFFFF], postings.starts[(term & 0xFFFF) + 1]):
                if postings.terms[place] == term:
                    added[postings.papers[place]] += words.weights[row, at] * postings.values[place]
        for paper in range(sums.shape[1]):  # Without a branch, so that it is done in vectors.
            close[paper] = np.float32(sums[row, paper]) * step + added[paper] >= limit
        for eight in range(eights.shape[0]):
            if eights[eight]:
                for paper in range(8 * eight, 8 * eight + 8):
                    if close[paper]:
                        papers[found], rows[found], scores[found] = paper, row, added[paper]
                        found += 1
        if words.counts[row]:
            added[:] = 0
    return found


def rescore_float32(
    count: int, weights: Vector, constants: Vector, vectors: Vector, thresholds: Vector, papers: Rows, rows: Rows,
    scores: Vector,
) -> int:  # fmt: skip
    """How many of the first `count` pairs reach their threshold: these are moved to the front, with their score."""
    found = 0
    for pair in range(count):
        paper, row, score = papers[pair], rows[pair], np.float32(0)
        left, right = weights[row], vectors[paper]
        for at in range(left.shape[0]):
            score += left[at] * right[at]
        score += constants[row] + scores[pair]
        if score >= thresholds[row]:
            papers[found], rows[found], scores[found] = paper, row, score
            found += 1
    return found


@cache
def compiled() -> tuple[Callable[..., int], Callable[..., int]]:
    """`near` and `decided` as machine code that lets other threads run; the first call of each takes half a second."""
    from numba import njit  # here: a command that matches nothing should not pay for it

    # Sums may be added in any order, as vectors want it. Nothing is kept on disk: places to write are not everywhere.
    compile: Any = njit(nogil=True, fastmath={"reassoc", "contract"}, error_model="numpy")
    return compile(prefilter_int8), compile(rescore_float32)
