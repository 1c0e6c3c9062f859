"""The interest index: all interests of a shard against a batch of papers.

Scores are computed with int8 vectors first; scores too close to the threshold, and those above it, are recomputed in
float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.domain.interests.int8_matmul import ZERO, product
from services.domain.interests.kernels import InterestTerms, Postings, compiled_kernels
from services.domain.interests.terms import CONSTANT_TERM, Terms, TermTable, term_id

Vector = NDArray[np.float32]
Rows = NDArray[np.int64]
BLOCK_SIZE = 4096
"""Interests in one matrix product. With a batch of papers the products take 4 MB, which fits into a core's cache."""
BATCH_SIZE = 256
"""Papers in one matrix product."""
LEVELS = 6
"""Thresholds of an interest: the usual one, and one for each step of upvotes."""
MAX_TERMS = 64
"""Terms of an interest, not counting the constant."""
FLOAT32_ERROR = 1e-5
"""The relative error of a float32 score, which depends on the order of summation."""


class MatchedPairs(NamedTuple):
    """Pairs that reach the threshold, as arrays of one length: the paper's row, the interest's id, the score."""

    papers: Rows
    ids: Rows
    scores: Vector


class InterestIndex:
    """Interests of one dimension. When an interest is removed, the last one moves into its place."""

    def __init__(self, dimensions: int, threads: int = 1) -> None:
        self.dimensions, self.threads = dimensions, threads
        self._blocks: list[_Block] = []
        self._positions: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def bytes_per_interest(self) -> float:
        """Memory of the dense arrays, if every block is full."""
        block = self._blocks[0] if self._blocks else _Block(self.dimensions)
        return sum(array.nbytes for array in block.dense()) / BLOCK_SIZE

    def put(
        self,
        id: int,
        weights: Vector,
        threshold: float,
        terms: Terms | None = None,
        relaxed_thresholds: Sequence[float] = (),
    ) -> None:
        """Adds an interest, or replaces the one with this id. Raises ValueError for more than `MAX_TERMS` terms.

        `relaxed_thresholds`: the thresholds of levels 1, 2 …; the last one holds for all further levels.
        """
        term_weights = {term_id(term): weight for term, weight in (terms or {}).items() if term != CONSTANT_TERM}
        if len(term_weights) > MAX_TERMS:
            raise ValueError(f"interest {id}: {len(term_weights)} terms are more than {MAX_TERMS}")
        position = self._positions.setdefault(id, len(self._positions))
        if position == len(self._blocks) * BLOCK_SIZE:
            self._blocks.append(_Block(self.dimensions))
        block, row = self._blocks[position // BLOCK_SIZE], position % BLOCK_SIZE
        block.put(row, weights)
        block.put_terms(row, term_weights)
        block.ids[row], block.constants[row] = id, (terms or {}).get(CONSTANT_TERM, 0.0)
        block.thresholds[row] = [
            (threshold, *relaxed_thresholds)[min(level, len(relaxed_thresholds))] for level in range(LEVELS)
        ]

    def remove(self, id: int) -> None:
        """Does nothing if there is no interest with this id."""
        if id not in self._positions:
            return
        last = len(self._positions) - 1
        position, last_block = self._positions.pop(id), self._blocks[last // BLOCK_SIZE]
        if position != last:
            self._blocks[position // BLOCK_SIZE].copy(position % BLOCK_SIZE, last_block, last % BLOCK_SIZE)
            self._positions[int(last_block.ids[last % BLOCK_SIZE])] = position
        if last % BLOCK_SIZE == 0:
            self._blocks.pop()

    def match(self, vectors: Vector, terms: TermTable | None = None, level: int = 0) -> MatchedPairs:
        """Every pair of a paper (row of `vectors`) and an interest whose threshold of this level the paper reaches."""
        if terms is not None and len(terms) != len(vectors):
            raise ValueError(f"{len(vectors)} papers, but terms of {len(terms)}")
        parts = [MatchedPairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))]
        for start in range(0, len(vectors), BATCH_SIZE):
            batch = _Batch(vectors[start : start + BATCH_SIZE], terms and terms.part(start, BATCH_SIZE), level)
            parts += [pairs._replace(papers=pairs.papers + start) for pairs in self._match_blocks(batch)]
        return MatchedPairs(*map(np.concatenate, zip(*parts, strict=True)))

    def _match_blocks(self, batch: _Batch) -> Iterator[MatchedPairs]:
        """Each thread takes the next block: a whole block stays in one core's cache."""
        used_rows = [min(BLOCK_SIZE, len(self) - start) for start in range(0, len(self), BLOCK_SIZE)]
        if self.threads == 1 or len(used_rows) == 1:
            yield from (block.match(rows, batch) for block, rows in zip(self._blocks, used_rows, strict=True))
            return
        with ThreadPoolExecutor(self.threads) as pool:
            yield from pool.map(lambda block, rows: block.match(rows, batch), self._blocks, used_rows)


@cache
def prepare() -> None:
    """Compiles the kernels now; otherwise the first papers would wait for it."""
    index, vectors = InterestIndex(1), np.ones((1, 1), np.float32)
    index.put(0, vectors[0], 0.0)
    index.match(vectors)


class _Batch:
    """Papers, quantised with one scale, and their terms as postings."""

    def __init__(self, vectors: Vector, terms: TermTable | None, level: int) -> None:
        self.prefilter_int8, self.rescore_float32 = compiled_kernels()
        self.level = level
        # A copy: numba would compile again for a read-only or strided array.
        self.vectors = np.array(vectors, np.float32, order="C")
        self.scale = max(float(np.abs(vectors).max()) / 127, 1e-30)
        rounded = np.rint(self.vectors / self.scale)
        self.quantised = np.ascontiguousarray(rounded.T.astype(np.int8))
        self.max_length = float(np.linalg.norm(self.vectors, axis=1).max())
        self.max_error = float(np.linalg.norm(self.vectors - rounded * self.scale, axis=1).max())
        self.postings = Postings.of(TermTable.of(()) if terms is None else terms)


class _Block:
    """`BLOCK_SIZE` interests, a row each. Weights are quantised to 7 bits with a scale per row, see int8_matmul.py."""

    def __init__(self, dimensions: int) -> None:
        self.weights = np.zeros((BLOCK_SIZE, dimensions), np.float32)
        self.quantised = np.full((BLOCK_SIZE, dimensions), ZERO, np.uint8)
        self.ids = np.zeros(BLOCK_SIZE, np.int64)
        self.scales, self.errors, self.lengths, self.constants = np.zeros((4, BLOCK_SIZE), np.float32)
        self.thresholds = np.zeros((BLOCK_SIZE, LEVELS), np.float32)
        self.terms = InterestTerms(np.zeros(BLOCK_SIZE, np.uint8), *_empty_terms(0))

    def dense(self) -> tuple[NDArray[np.generic], ...]:
        """The arrays that have a row for every interest; terms are only allocated once an interest has any."""
        per_row = (self.ids, self.scales, self.errors, self.lengths, self.constants, self.thresholds, self.terms.counts)
        return (self.weights, self.quantised, *per_row)

    def put(self, row: int, weights: Vector) -> None:
        scale = float(np.abs(weights).max()) / 63 or 1.0
        rounded = np.rint(weights / scale)
        self.weights[row], self.quantised[row], self.scales[row] = weights, rounded + ZERO, scale
        rounded *= self.scales[row]
        self.errors[row], self.lengths[row] = np.linalg.norm(weights - rounded), np.linalg.norm(rounded)

    def put_terms(self, row: int, weights: Mapping[int, float]) -> None:
        if weights and not len(self.terms.ids):
            self.terms = InterestTerms(self.terms.counts, *_empty_terms(BLOCK_SIZE))
        count = len(weights)
        self.terms.counts[row] = count
        if weights:
            self.terms.ids[row, :count], self.terms.weights[row, :count] = list(weights), list(weights.values())

    def copy(self, row: int, source: _Block, source_row: int) -> None:
        if count := source.terms.counts[source_row]:
            ids, weights = (array[source_row, :count].tolist() for array in (source.terms.ids, source.terms.weights))
            self.put_terms(row, dict(zip(ids, weights, strict=True)))
        for target_array, source_array in zip(self.dense(), source.dense(), strict=True):
            target_array[row] = source_array[source_row]

    def match(self, used_rows: int, batch: _Batch) -> MatchedPairs:
        """Pairs that may reach the threshold by their int8 product, then those that reach it in float32.

        |w·p - ŵ·p̂| ≤ |w - ŵ| |p| + |ŵ| |p - p̂| for the rounded ŵ and p̂ (Cauchy-Schwarz), so the prefilter misses no
        match.
        """
        products = product(self.quantised[:used_rows], batch.quantised)
        thresholds, constants = self.thresholds[:used_rows, batch.level], self.constants[:used_rows]
        lengths = self.lengths[:used_rows]
        bound = self.errors[:used_rows] * batch.max_length + lengths * batch.max_error
        bound += FLOAT32_ERROR * (1 + lengths * batch.max_length + np.abs(thresholds) + np.abs(constants))
        limits = np.asarray(thresholds - constants - bound, np.float32)
        scales = np.asarray(self.scales[:used_rows] * batch.scale, np.float32)
        papers, rows = np.empty((2, products.size), np.int64)
        scores = np.empty(products.size, np.float32)
        count = batch.prefilter_int8(products, scales, limits, self.terms, batch.postings, papers, rows, scores)
        thresholds = np.ascontiguousarray(thresholds)
        count = batch.rescore_float32(
            count, self.weights, self.constants, batch.vectors, thresholds, papers, rows, scores
        )
        return MatchedPairs(papers[:count].copy(), self.ids[rows[:count]], scores[:count].copy())


def _empty_terms(rows: int) -> tuple[NDArray[np.uint32], Vector]:
    return np.zeros((rows, MAX_TERMS), np.uint32), np.zeros((rows, MAX_TERMS), np.float32)
