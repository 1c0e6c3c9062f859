"""All interests of a shard against a batch of papers: 8-bit products first, 32-bit floats where those leave a doubt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.domain.interests.int8_matmul import ZERO, product
from services.domain.interests.kernels import Postings, Words, compiled
from services.domain.interests.terms import ALWAYS, Terms, TermTable, term_id

Vector = NDArray[np.float32]
Rows = NDArray[np.int64]
BLOCK = 4096
"""Interests in one product: with a batch of papers 4 MB of sums."""
BATCH = 256
LEVELS = 6
"""Thresholds of an interest: the usual one, and one for each step of upvotes."""
MAX_TERMS = 64
ROUNDING = 1e-5
"""Of the size of its parts: what the order of summation may change in a float32 score."""


class Found(NamedTuple):
    """Pairs that reach the threshold, each array of one length."""

    papers: Rows
    ids: Rows
    scores: Vector


class InterestIndex:
    """Interests of one dimension, put, replaced and removed in place; the last takes the place of one removed."""

    def __init__(self, dimensions: int, threads: int = 1) -> None:
        self.dimensions, self.threads = dimensions, threads
        self._blocks: list[_Block] = []
        self._places: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    @property
    def bytes_per_interest(self) -> float:
        """Of the dense part, when every block is full."""
        block = self._blocks[0] if self._blocks else _Block(self.dimensions)
        return sum(array.nbytes for array in block.dense()) / BLOCK

    def put(
        self,
        id: int,
        weights: Vector,
        threshold: float,
        terms: Terms | None = None,
        relaxed_thresholds: Sequence[float] = (),
    ) -> None:
        """Adds an interest or replaces the one of the same id. At most 64 terms, not counting the constant.

        `relaxed_thresholds`: the thresholds of levels 1, 2 …; a level beyond them has the last.
        """
        words = {term_id(term): weight for term, weight in (terms or {}).items() if term != ALWAYS}
        if len(words) > MAX_TERMS:
            raise ValueError(f"interest {id}: {len(words)} terms are more than {MAX_TERMS}")
        place = self._places.setdefault(id, len(self._places))
        if place == len(self._blocks) * BLOCK:
            self._blocks.append(_Block(self.dimensions))
        block, row = self._blocks[place // BLOCK], place % BLOCK
        block.put(row, weights)
        block.put_terms(row, words)
        block.ids[row], block.constants[row] = id, (terms or {}).get(ALWAYS, 0.0)
        block.thresholds[row] = [
            (threshold, *relaxed_thresholds)[min(level, len(relaxed_thresholds))] for level in range(LEVELS)
        ]

    def remove(self, id: int) -> None:
        """Does nothing when there is none of this id."""
        if id not in self._places:
            return
        last = len(self._places) - 1
        place, source = self._places.pop(id), self._blocks[last // BLOCK]
        if place != last:
            self._blocks[place // BLOCK].copy(place % BLOCK, source, last % BLOCK)
            self._places[int(source.ids[last % BLOCK])] = place
        if last % BLOCK == 0:
            self._blocks.pop()

    def match(self, vectors: Vector, terms: TermTable | None = None, level: int = 0) -> Found:
        """Every paper (row of `vectors`) with every interest whose threshold of a level it reaches, and its score."""
        if terms is not None and len(terms) != len(vectors):
            raise ValueError(f"{len(vectors)} papers, but terms of {len(terms)}")
        parts = [Found(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))]
        for start in range(0, len(vectors), BATCH):
            batch = _Batch(vectors[start : start + BATCH], terms and terms.part(start, BATCH), level)
            parts += [found._replace(papers=found.papers + start) for found in self._matched(batch)]
        return Found(*map(np.concatenate, zip(*parts, strict=True)))

    def _matched(self, batch: _Batch) -> Iterator[Found]:
        """Block by block, every thread taking the next that is left: whole blocks stay in one core's cache."""
        used = [min(BLOCK, len(self) - start) for start in range(0, len(self), BLOCK)]
        if self.threads == 1 or len(used) == 1:
            yield from (block.match(rows, batch) for block, rows in zip(self._blocks, used, strict=True))
            return
        with ThreadPoolExecutor(self.threads) as pool:
            yield from pool.map(lambda block, rows: block.match(rows, batch), self._blocks, used)


@cache
def prepare() -> None:
    """Compiles the loops now, which the first papers would wait for."""
    index, one = InterestIndex(1), np.ones((1, 1), np.float32)
    index.put(0, one[0], 0.0)
    index.match(one)


class _Batch:
    """Papers quantised with one scale, and their terms as postings."""

    def __init__(self, vectors: Vector, terms: TermTable | None, level: int) -> None:
        self.near, self.decided = compiled()
        self.level = level
        # A copy: for what may not be written, numba would compile once more.
        self.vectors = np.array(vectors, np.float32, order="C")
        self.scale = max(float(np.abs(vectors).max()) / 127, 1e-30)
        rounded = np.rint(self.vectors / self.scale)
        self.quantised = np.ascontiguousarray(rounded.T.astype(np.int8))
        self.longest = float(np.linalg.norm(self.vectors, axis=1).max())
        self.error = float(np.linalg.norm(self.vectors - rounded * self.scale, axis=1).max())
        self.postings = Postings.of(TermTable.of(()) if terms is None else terms)


class _Block:
    """Interests side by side."""

    def __init__(self, dimensions: int) -> None:
        self.weights = np.zeros((BLOCK, dimensions), np.float32)
        self.quantised = np.full((BLOCK, dimensions), ZERO, np.uint8)
        self.ids = np.zeros(BLOCK, np.int64)
        self.scales, self.errors, self.lengths, self.constants = np.zeros((4, BLOCK), np.float32)
        self.thresholds = np.zeros((BLOCK, LEVELS), np.float32)
        self.words = Words(np.zeros(BLOCK, np.uint8), *_none(0))

    def dense(self) -> tuple[NDArray[np.generic], ...]:
        per_row = (self.ids, self.scales, self.errors, self.lengths, self.constants, self.thresholds, self.words.counts)
        return (self.weights, self.quantised, *per_row)

    def put(self, row: int, weights: Vector) -> None:
        scale = float(np.abs(weights).max()) / 63 or 1.0
        rounded = np.rint(weights / scale)
        self.weights[row], self.quantised[row], self.scales[row] = weights, rounded + ZERO, scale
        rounded *= self.scales[row]
        self.errors[row], self.lengths[row] = np.linalg.norm(weights - rounded), np.linalg.norm(rounded)

    def put_terms(self, row: int, words: Mapping[int, float]) -> None:
        if words and not len(self.words.ids):
            self.words = Words(self.words.counts, *_none(BLOCK))
        self.words.counts[row] = len(words)
        if words:
            self.words.ids[row, : len(words)], self.words.weights[row, : len(words)] = list(words), list(words.values())

    def copy(self, row: int, source: _Block, source_row: int) -> None:
        if count := source.words.counts[source_row]:
            ids, weights = (array[source_row, :count].tolist() for array in (source.words.ids, source.words.weights))
            self.put_terms(row, dict(zip(ids, weights, strict=True)))
        for mine, theirs in zip(self.dense(), source.dense(), strict=True):
            mine[row] = theirs[source_row]

    def match(self, used: int, batch: _Batch) -> Found:
        """First the pairs that may reach the threshold, then their scores.

        |w·p - ŵ·p̂| ≤ |w - ŵ| |p| + |ŵ| |p - p̂| for the rounded ŵ and p̂ (Cauchy-Schwarz): no match is missed.
        """
        sums = product(self.quantised[:used], batch.quantised)
        thresholds, constants, lengths = self.thresholds[:used, batch.level], self.constants[:used], self.lengths[:used]
        bound = self.errors[:used] * batch.longest + lengths * batch.error
        bound += ROUNDING * (1 + lengths * batch.longest + np.abs(thresholds) + np.abs(constants))
        least = np.asarray(thresholds - constants - bound, np.float32)
        steps = np.asarray(self.scales[:used] * batch.scale, np.float32)
        papers, rows = np.empty((2, sums.size), np.int64)
        scores = np.empty(sums.size, np.float32)
        count = batch.near(sums, steps, least, self.words, batch.postings, papers, rows, scores)
        reached = np.ascontiguousarray(thresholds)
        count = batch.decided(count, self.weights, self.constants, batch.vectors, reached, papers, rows, scores)
        return Found(papers[:count].copy(), self.ids[rows[:count]], scores[:count].copy())


def _none(rows: int) -> tuple[NDArray[np.uint32], Vector]:
    return np.zeros((rows, MAX_TERMS), np.uint32), np.zeros((rows, MAX_TERMS), np.float32)
