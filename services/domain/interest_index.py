"""All interests of a shard against a batch of papers: 8-bit products first, 32-bit floats where those leave a doubt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import local
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.domain.int8_product import ZERO, product
from services.domain.lexical import ALWAYS, Terms, TermTable, term_id

Vector = NDArray[np.float32]
Rows = NDArray[np.int64]
BLOCK = 2048
"""Interests in one product: with a batch of papers 2 MB of sums, which stay in the cache of one core."""
BATCH = 256
LEVELS = 6
"""Thresholds of an interest: the usual one, and one for each step of upvotes."""
PAIRS = 2048
"""Scored at once in float32, in two buffers that are kept: to ask for fresh memory costs more than to multiply."""
MOST_TERMS = 64
ROUNDING = 1e-5
"""What the order of summation may change in a float32 score."""
SLOTS = 1 << 20
"""Of the table from a term's low bits to its column."""


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
        return block.dense_bytes / BLOCK

    def put(
        self, id: int, weights: Vector, threshold: float, terms: Terms | None = None, eased: Sequence[float] = ()
    ) -> None:
        """Adds an interest or replaces the one of the same id. At most 64 terms, not counting the constant.

        `eased`: the thresholds of levels 1, 2 …; a level beyond them has the last.
        """
        place = self._places.setdefault(id, len(self._places))
        if place == len(self._blocks) * BLOCK:
            self._blocks.append(_Block(self.dimensions))
        self._blocks[place // BLOCK].put(place % BLOCK, id, weights, (threshold, *eased), terms or {})

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
        parts = [
            Found(found.papers + start, found.ids, found.scores)
            for start in range(0, len(vectors), BATCH)
            for found in self._matched(
                _Batch(vectors[start : start + BATCH], terms and terms.part(start, BATCH), level)
            )
        ]
        empty = Found(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
        return Found(*map(np.concatenate, zip(empty, *parts, strict=True)))

    def _matched(self, batch: _Batch) -> Iterator[Found]:
        """Block by block, every thread taking the next that is left: whole blocks stay in one core's cache."""
        tasks = [(block, min(BLOCK, len(self) - number * BLOCK)) for number, block in enumerate(self._blocks)]
        if self.threads == 1 or len(tasks) == 1:
            for block, used in tasks:
                yield from block.match(used, batch)
            return
        with ThreadPoolExecutor(self.threads) as pool:
            for found in pool.map(lambda task: list(task[0].match(task[1], batch)), tasks):
                yield from found


class _Batch:
    """Papers quantised with one scale, and their terms as columns."""

    def __init__(self, vectors: Vector, terms: TermTable | None, level: int = 0) -> None:
        self.level = level
        self.vectors = np.ascontiguousarray(vectors, np.float32)
        self.scale = max(float(np.abs(vectors).max()) / 127, 1e-30)
        rounded = np.rint(self.vectors / self.scale)
        self.quantised = np.ascontiguousarray(rounded.T.astype(np.int8))
        self.longest = float(np.linalg.norm(self.vectors, axis=1).max())
        self.error = float(np.linalg.norm(self.vectors - rounded * self.scale, axis=1).max())
        self._own = local()
        self.has_terms = terms is not None and len(terms.ids) > 0
        if terms is not None and self.has_terms:
            self.known, columns = np.unique(terms.ids, return_inverse=True)
            self.values = np.zeros((len(vectors), len(self.known) + 1), np.float32)
            self.values[np.repeat(np.arange(len(vectors)), np.diff(terms.offsets)), columns] = terms.values
            self.slots = np.full(SLOTS, -1, np.int32)
            self.slots[self.known % SLOTS] = np.arange(len(self.known))

    @property
    def buffers(self) -> Vector:
        """This thread's two, (2, PAIRS, dimensions)."""
        if not hasattr(self._own, "buffers"):
            self._own.buffers = np.empty((2, PAIRS, self.vectors.shape[1]), np.float32)
        buffers: Vector = self._own.buffers
        return buffers

    def find(self, ids: NDArray[np.uint32]) -> NDArray[np.int32]:
        """The column of `values` for each term; the last, of zeros, for one that no paper has."""
        at = self.slots[ids % SLOTS]
        # Where another term has the slot: rare, since papers have far fewer terms than there are slots.
        wrong = np.flatnonzero((at >= 0) & (self.known[at] != ids))
        places = np.minimum(np.searchsorted(self.known, ids.flat[wrong]), len(self.known) - 1)
        at.flat[wrong] = np.where(self.known[places] == ids.flat[wrong], places, -1)
        at[at < 0] = len(self.known)
        return at


class _Block:
    """Up to 4,096 interests side by side."""

    def __init__(self, dimensions: int) -> None:
        self.weights = np.zeros((BLOCK, dimensions), np.float32)
        self.quantised = np.full((BLOCK, dimensions), ZERO, np.uint8)
        self.ids = np.zeros(BLOCK, np.int64)
        self.scales, self.errors, self.lengths = np.ones(BLOCK), np.zeros(BLOCK), np.zeros(BLOCK)
        self.thresholds, self.constants = np.zeros((BLOCK, LEVELS), np.float32), np.zeros(BLOCK)
        self.term_ids = self.term_weights = None

    term_ids: NDArray[np.uint32] | None
    term_weights: Vector | None

    @property
    def dense_bytes(self) -> int:
        return sum(array.nbytes for array in self._dense())

    def _dense(self) -> tuple[NDArray[np.generic], ...]:
        per_row = (self.scales, self.errors, self.lengths, self.thresholds, self.constants, self.ids)
        return (self.weights, self.quantised, *per_row)

    def put(self, row: int, id: int, weights: Vector, thresholds: Sequence[float], terms: Terms) -> None:
        scale = float(np.abs(weights).max()) / 63 or 1.0
        rounded = np.rint(weights / scale)
        self.weights[row], self.quantised[row] = weights, rounded + ZERO
        self.scales[row], self.lengths[row] = scale, np.linalg.norm(rounded * scale)
        self.errors[row] = np.linalg.norm(weights - rounded * scale)
        self.ids[row], self.constants[row] = id, terms.get(ALWAYS, 0.0)
        self.thresholds[row] = [thresholds[min(level, len(thresholds) - 1)] for level in range(LEVELS)]
        words = {term: weight for term, weight in terms.items() if term != ALWAYS}
        if len(words) > MOST_TERMS:
            raise ValueError(f"interest {id}: {len(words)} terms are more than {MOST_TERMS}")
        self._put_terms(row, words)

    def _put_terms(self, row: int, words: Terms) -> None:
        if self.term_ids is None or self.term_weights is None:
            if not words:
                return
            self.term_ids = np.zeros((BLOCK, MOST_TERMS), np.uint32)
            self.term_weights = np.zeros((BLOCK, MOST_TERMS), np.float32)
        self.term_weights[row] = 0.0
        self.term_ids[row, : len(words)] = [term_id(term) for term in words]
        self.term_weights[row, : len(words)] = list(words.values())

    def copy(self, row: int, source: _Block, source_row: int) -> None:
        for mine, theirs in zip(self._dense(), source._dense(), strict=True):
            mine[row] = theirs[source_row]
        self._put_terms(row, {})
        if source.term_ids is not None and source.term_weights is not None:
            if self.term_ids is None or self.term_weights is None:
                self.term_ids, self.term_weights = np.zeros_like(source.term_ids), np.zeros_like(source.term_weights)
            self.term_ids[row], self.term_weights[row] = source.term_ids[source_row], source.term_weights[source_row]

    def match(self, used: int, batch: _Batch) -> Iterator[Found]:
        """First the pairs that may reach the threshold, then their scores in float32.

        |w·p - ŵ·p̂| ≤ |w - ŵ| |p| + |ŵ| |p - p̂| for the rounded ŵ and p̂ (Cauchy-Schwarz): no match is missed.
        """
        sums = product(self.quantised[:used], batch.quantised)
        bound = self.errors[:used] * batch.longest + self.lengths[:used] * batch.error + ROUNDING
        step = self.scales[:used] * batch.scale
        thresholds = self.thresholds[:used, batch.level]
        least = (thresholds - self.constants[:used] - bound) / step
        words = self._words(used, batch)
        if words is None:
            near = np.flatnonzero(sums >= np.clip(np.floor(least), -(2**31), 2**31 - 1).astype(np.int32)[:, None])
        else:
            limits = np.multiply(words, (-1 / step).astype(np.float32)[:, None])
            limits += (least - 1).astype(np.float32)[:, None]
            near = np.flatnonzero(sums.astype(np.float32) >= limits)
        for start in range(0, len(near), PAIRS):
            rows, papers = np.divmod(near[start : start + PAIRS], len(batch.vectors))
            left, right = (buffer[: len(rows)] for buffer in batch.buffers)
            # With mode "raise" numpy would copy once more.
            np.take(self.weights, rows, axis=0, out=left, mode="clip")
            np.take(batch.vectors, papers, axis=0, out=right, mode="clip")
            scores = np.einsum("ij,ij->i", left, right) + self.constants[rows]
            if words is not None:
                scores += words[rows, papers]
            scores = scores.astype(np.float32)
            hit = scores >= thresholds[rows]
            yield Found(papers[hit], self.ids[rows[hit]], scores[hit])

    def _words(self, used: int, batch: _Batch) -> Vector | None:
        """What the terms add to each pair, shape (interests, papers); None where none has any."""
        if self.term_ids is None or self.term_weights is None or not batch.has_terms:
            return None
        most = int(np.count_nonzero(self.term_weights[:used], axis=1).max(initial=0))
        weights, at = self.term_weights[:used, :most], batch.find(self.term_ids[:used, :most])
        summed = np.empty((len(batch.vectors), used), np.float32)
        for values, row in zip(batch.values, summed, strict=True):
            np.einsum("ij,ij->i", weights, values.take(at), out=row)
        return summed.T
