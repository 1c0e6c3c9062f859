"""Terms: the words, pairs of words and categories of a paper, and which of them distinguish some papers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from services.domain.query.paper_text import PaperText
from services.domain.text.tokens import tokens

Vector = NDArray[np.float32]
Terms = Mapping[str, float]
"""Term to weight. A term is a stem, two stems in a row (`tool use`), or a category (`cat:cs.LG`)."""

CONSTANT_TERM = ""
"""A term of every paper; its weight is the constant of a score."""
CATEGORY_PREFIX = "cat:"
SATURATION = 1.2
"""BM25's k1 (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009)."""
LENGTH_WEIGHT = 0.4
"""BM25's b."""
MEAN_WORDS = 110.0
"""BM25's mean document length, in content words. Constant, so that a paper's terms never change with the archive."""
VARIANCE_RIDGE = 0.2
"""Added to a term's variance, so that the weight of a term that the archive lacks stays finite."""
CATEGORY_PRIOR = 4.0
"""This many papers with the archive's mixture of categories are added to an interest's examples, to smooth them."""
PACKED_DTYPE = np.dtype([("id", "<u4"), ("value", "<f2")])
"""A stored term: its id and its weight."""
FUNCTION_WORDS = frozenset(
    # One string reads better than a list of 55.
    (  # noqa: SIM905
        "a also an and are as at be between both but by can for from has have in into is it its more most not of on "
        "or our over such than that the their these they this through to via was we were which while with"
    ).split()
)


def terms_of(text: PaperText) -> dict[str, float]:
    """The terms of a paper with their weights, from title, abstract and categories."""
    parts = [[token.stem for token in field.tokens] for field in (text.title, text.abstract)]
    return bm25_weights(count_terms(parts)) | {CATEGORY_PREFIX + category: 1.0 for category in text.categories}


def terms_of_words(*parts: str) -> dict[str, float]:
    """The terms of a description, or of a title and an abstract, with their weights."""
    return bm25_weights(count_terms(stems(part) for part in parts))


def stems(text: str) -> list[str]:
    return [token.stem for token in tokens(text)]


def count_terms(parts: Iterable[Sequence[str]]) -> Counter[str]:
    """Counts stems and pairs of neighbouring stems. No pair spans two parts or contains a function word."""
    parts = list(parts)
    counts = Counter(stem for part in parts for stem in part if stem not in FUNCTION_WORDS)
    pairs = (pair for part in parts for pair in pairwise(part) if FUNCTION_WORDS.isdisjoint(pair))
    counts.update(" ".join(pair) for pair in pairs)
    return counts


def bm25_weights(counts: Mapping[str, int]) -> dict[str, float]:
    """Term weights that saturate with the count and are lower in a long text: BM25 without its inverse frequency.

    `count (k1 + 1) / (count + k1 (1 - b + b words / mean words))`
    """
    words = sum(count for term, count in counts.items() if " " not in term)
    length = 1 - LENGTH_WEIGHT + LENGTH_WEIGHT * words / MEAN_WORDS
    return {term: count * (SATURATION + 1) / (count + SATURATION * length) for term, count in counts.items()}


def top_terms(weights: Terms, text: PaperText, paper_terms: Terms | None = None, limit: int = 3) -> list[str]:
    """The words of the paper that contribute most to an interest's score, as the paper spells them.

    `paper_terms`: the paper's terms, if the caller has them.
    """
    known = terms_of(text) if paper_terms is None else paper_terms
    contributions = {term: weight * known[term] for term, weight in weights.items() if term in known and weight > 0}
    # A pair counts double, since its single words are terms too.
    contributions = {term: value * (2 if " " in term else 1) for term, value in contributions.items()}
    words = (term for term in contributions if not term.startswith(CATEGORY_PREFIX))
    chosen: list[str] = []
    for term in sorted(words, key=lambda term: -contributions[term]):
        if len(chosen) < limit and not any(set(term.split()) & set(other.split()) for other in chosen):
            chosen.append(term)
    return [_spelled(term, text) for term in chosen]


def _spelled(term: str, text: PaperText) -> str:
    """The term as written where the text has its stems in a row for the first time."""
    stems = term.split()
    for field in (text.title, text.abstract):
        for start in field.stems.get(stems[0], ()):
            tokens = field.tokens[start : start + len(stems)]
            if [token.stem for token in tokens] == stems:
                return " ".join(token.surface for token in tokens)
    return term


def term_id(term: str) -> int:
    """A 32-bit hash of the term. Collisions among the 64 terms of an interest are too rare to matter."""
    return crc32(term.encode())


@dataclass(frozen=True, eq=False)
class TermTable:
    """The terms of many papers, a row for each paper; row r is `offsets[r]:offsets[r + 1]`."""

    offsets: NDArray[np.int64]
    ids: NDArray[np.uint32]
    values: Vector

    @classmethod
    def of(cls, papers: Iterable[Terms]) -> TermTable:
        rows = [pack_terms(terms) for terms in papers]
        return cls.joined(b"".join(rows), [len(row) for row in rows])

    @classmethod
    def joined(cls, rows: bytes, lengths: Sequence[int]) -> TermTable:
        """From the concatenated bytes that `pack_terms` made of each paper, and the length of each in bytes."""
        packed = np.frombuffer(rows, PACKED_DTYPE)
        ends = np.cumsum(np.asarray(lengths, np.int64)) // PACKED_DTYPE.itemsize
        offsets = np.concatenate([np.zeros(1, np.int64), ends])
        return cls(offsets, packed["id"].astype(np.uint32), packed["value"].astype(np.float32))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def part(self, start: int, count: int) -> TermTable:
        """The rows `start:start + count`."""
        offsets = self.offsets[start : start + count + 1]
        inside = slice(offsets[0], offsets[-1])
        return TermTable(offsets - offsets[0], self.ids[inside], self.values[inside])

    def scores(self, weights: Terms) -> Vector:
        """For each paper the product of its terms with `weights`; shape (len(self),)."""
        rows, values, sizes = self._postings(list(weights))
        contributions = np.repeat(np.array(list(weights.values()), np.float64), sizes) * values
        summed = np.bincount(rows, contributions, len(self)) + weights.get(CONSTANT_TERM, 0.0)
        return summed.astype(np.float32)

    def moments(self, terms: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """For each term: the share of papers that have it, and the mean and variance of its value over all papers."""
        _, values, sizes = self._postings(terms)
        columns, count = np.repeat(np.arange(len(terms)), sizes), max(1, len(self))
        share, mean, square = (np.bincount(columns, values**power, len(terms)) / count for power in range(3))
        return share, mean, square - mean**2

    def _postings(self, terms: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """The rows that have the terms, term after term, with their values; and the number of rows of each term."""
        sorted_ids, rows, values = self._by_term
        ids = np.array([term_id(term) for term in terms], np.uint32)
        starts, ends = (np.searchsorted(sorted_ids, ids, side) for side in ("left", "right"))
        sizes = ends - starts
        positions = np.arange(sizes.sum()) + np.repeat(starts - np.cumsum(sizes) + sizes, sizes)
        return rows[positions], values[positions].astype(np.float64), sizes

    @cached_property
    def _by_term(self) -> tuple[NDArray[np.uint32], NDArray[np.int64], Vector]:
        """An inverted index: all term ids in order, each with its row and value."""
        # Sorting integers that hold id and position is many times as fast as argsort.
        keys = (self.ids.astype(np.uint64) << np.uint64(32)) | np.arange(len(self.ids), dtype=np.uint64)
        keys.sort()
        order = (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
        rows = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        return (keys >> np.uint64(32)).astype(np.uint32), rows[order], self.values[order]


def pack_terms(terms: Terms) -> bytes:
    """A paper's terms as they are stored, in six bytes each."""
    return np.array([(term_id(term), value) for term, value in terms.items()], PACKED_DTYPE).tobytes()


# ── learning ──────────────────────────────────────────────────────────────────────────────────────────────────


def rare_terms(text: Terms, archive: TermTable) -> dict[str, float]:
    """A description's terms weighted by TF-IDF; terms that all papers of the archive have are left out."""
    share, _, _ = archive.moments(list(text))
    rarity = np.log((1 + len(archive)) / (1 + share * len(archive)))
    return {term: value * float(idf) for (term, value), idf in zip(text.items(), rarity, strict=True) if idf > 0}


def distinctive_terms(examples: Sequence[Terms], archive: TermTable, limit: int) -> dict[str, float]:
    """The `limit` terms that separate the examples best from the archive, of those that the examples have more of.

    The weight of a term is that of linear discriminant analysis of independent terms: the difference of the means
    divided by the variance plus `VARIANCE_RIDGE`.
    """
    means = _mean(examples)
    terms = [term for term in means if not term.startswith(CATEGORY_PREFIX)]
    _, archive_means, variances = archive.moments(terms)
    differences = np.array([means[term] for term in terms]) - archive_means
    weights = differences / (variances + VARIANCE_RIDGE)
    best = np.argsort(-weights * np.maximum(differences, 0), kind="stable")[:limit]
    return {terms[i]: float(weights[i]) for i in best if differences[i] > 0}


def distinctive_categories(examples: Sequence[Terms], archive: TermTable) -> dict[str, float]:
    """For each category of the examples: the log of the ratio of its odds among the examples and in the archive."""
    shares = {term: share for term, share in _mean(examples).items() if term.startswith(CATEGORY_PREFIX)}
    share, _, _ = archive.moments(list(shares))
    expected = (share * len(archive) + 0.5) / (len(archive) + 1)
    observed = np.array(list(shares.values())) * len(examples)
    smoothed = (observed + CATEGORY_PRIOR * expected) / (len(examples) + CATEGORY_PRIOR)
    log_ratios = np.log(smoothed / (1 - smoothed) * (1 - expected) / expected)
    return {term: float(ratio) for term, ratio in zip(shares, log_ratios, strict=True)}


def _mean(examples: Sequence[Terms]) -> dict[str, float]:
    total: Counter[str] = Counter()
    for terms in examples:
        total.update(terms)
    return {term: value / len(examples) for term, value in total.items()}
