"""The inner loops of the interest index, compiled by numba."""

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
    """The terms of a batch of papers, grouped by the low 16 bits of their ids: group b is `starts[b]:starts[b + 1]`."""

    starts: Ints
    terms: NDArray[np.uint32]
    papers: Ints
    values: Vector

    @classmethod
    def of(cls, table: TermTable) -> "Postings":
        low_bits = table.ids.astype(np.uint16)
        order = np.argsort(low_bits, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(low_bits, minlength=1 << 16))]).astype(np.int32)
        papers = np.repeat(np.arange(len(table), dtype=np.int32), np.diff(table.offsets))
        return cls(starts, table.ids[order], papers[order], table.values[order])


class InterestTerms(NamedTuple):
    """The terms of each interest with their weights: row r has `counts[r]` of them, from the left."""

    counts: NDArray[np.uint8]
    ids: NDArray[np.uint32]
    weights: Vector


def prefilter_int8(
    products: Ints, scales: Vector, limits: Vector, terms: InterestTerms, postings: Postings, papers: Rows, rows: Rows,
    scores: Vector,
) -> int:  # fmt: skip
    """The number of pairs (paper, interest) with `product * scale + term score >= limit`.

    `products` has the shape (interests, papers). Each such pair is written to `papers` and `rows`, its term score to
    `scores`.
    """
    count, term_scores = 0, np.zeros(products.shape[1], np.float32)
    passes = np.zeros((products.shape[1] + 7) // 8 * 8, np.uint8)
    passes_of_eight = passes.view(np.uint64)
    for row in range(products.shape[0]):
        scale, limit = scales[row], limits[row]
        for position in range(terms.counts[row]):
            term = terms.ids[row, position]
            for entry in range(postings.starts[term & 0xFFFF], postings.starts[(term & 0xFFFF) + 1]):
                if postings.terms[entry] == term:
                    term_scores[postings.papers[entry]] += terms.weights[row, position] * postings.values[entry]
        for paper in range(products.shape[1]):  # Without a branch, so that the compiler uses vector instructions.
            passes[paper] = np.float32(products[row, paper]) * scale + term_scores[paper] >= limit
        for eight in range(passes_of_eight.shape[0]):
            if passes_of_eight[eight]:
                for paper in range(8 * eight, 8 * eight + 8):
                    if passes[paper]:
                        papers[count], rows[count], scores[count] = paper, row, term_scores[paper]
                        count += 1
        if terms.counts[row]:
            term_scores[:] = 0
    return count


def rescore_float32(
    count: int, weights: Vector, constants: Vector, vectors: Vector, thresholds: Vector, papers: Rows, rows: Rows,
    scores: Vector,
) -> int:  # fmt: skip
    """The number of the first `count` pairs that reach their threshold; they are moved to the front, with their score.

    `scores` holds the term scores that `prefilter_int8` wrote.
    """
    reached = 0
    for pair in range(count):
        paper, row, score = papers[pair], rows[pair], np.float32(0)
        left, right = weights[row], vectors[paper]
        for dimension in range(left.shape[0]):
            score += left[dimension] * right[dimension]
        score += constants[row] + scores[pair]
        if score >= thresholds[row]:
            papers[reached], rows[reached], scores[reached] = paper, row, score
            reached += 1
    return reached


@cache
def compiled_kernels() -> tuple[Callable[..., int], Callable[..., int]]:
    """`prefilter_int8` and `rescore_float32` as machine code that releases the GIL. A first call takes 0.5 s."""
    from numba import njit  # Imported here: a command that matches nothing should not wait for it.

    # "reassoc" lets sums use vector instructions. No cache on disk: the installation may be read-only.
    compile: Any = njit(nogil=True, fastmath={"reassoc", "contract"}, error_model="numpy")
    return compile(prefilter_int8), compile(rescore_float32)
