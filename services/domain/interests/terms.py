"""Words as evidence: which terms a paper has, and which of them tell some papers from all others."""

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

ALWAYS = ""
"""A term that every paper has: its weight is the constant of a score."""
CATEGORY = "cat:"
SATURATION, LENGTH_WEIGHT, USUAL_WORDS = 1.2, 0.4, 110.0
"""BM25's k1 and b, and a usual paper's content words: fixed, so that a paper's terms never change with the archive."""
RIDGE = 0.2
"""Added to a term's variance, so that one that the archive has never seen stays finite."""
PRIOR = 4.0
"""How many papers of the usual mixture of categories an interest's examples are mixed with."""
PACKED = np.dtype([("id", "<u4"), ("value", "<f2")])
"""A term as the archive keeps it."""
FUNCTION_WORDS = frozenset(
    # One string reads better than a list of 55.
    (  # noqa: SIM905
        "a also an and are as at be between both but by can for from has have in into is it its more most not of on "
        "or our over such than that the their these they this through to via was we were which while with"
    ).split()
)


def terms_of(text: PaperText) -> dict[str, float]:
    """A paper's terms with their weight, by title, abstract and categories."""
    parts = [[token.stem for token in field.tokens] for field in text.fields()]
    return weighted(counted(parts)) | {CATEGORY + category: 1.0 for category in text.categories}


def terms_of_words(*parts: str) -> dict[str, float]:
    """The terms of a description, or of a title and an abstract."""
    return weighted(counted(stems(part) for part in parts))


def stems(text: str) -> list[str]:
    return [token.stem for token in tokens(text)]


def counted(parts: Iterable[Sequence[str]]) -> Counter[str]:
    """How often each stem and each pair of neighbours occurs; no pair spans two parts or has a function word."""
    parts = list(parts)
    counts = Counter(word for part in parts for word in part if word not in FUNCTION_WORDS)
    pairs = (pair for part in parts for pair in pairwise(part) if FUNCTION_WORDS.isdisjoint(pair))
    counts.update(" ".join(pair) for pair in pairs)
    return counts


def weighted(counts: Mapping[str, int]) -> dict[str, float]:
    """Saturating with the count, and less in a long text (BM25 without its rarity)."""
    words = sum(n for term, n in counts.items() if " " not in term)
    long = 1 - LENGTH_WEIGHT + LENGTH_WEIGHT * words / USUAL_WORDS
    return {term: n * (SATURATION + 1) / (n + SATURATION * long) for term, n in counts.items()}


def top_terms(weights: Terms, text: PaperText, theirs: Terms | None = None, most: int = 3) -> list[str]:
    """The words of the paper that counted most for an interest, as the paper spells them.

    `theirs`: the paper's terms, where the caller has them.
    """
    theirs = terms_of(text) if theirs is None else theirs
    paid = {term: weight * theirs[term] for term, weight in weights.items() if term in theirs and weight > 0}
    # A pair says more than its words, which count beside it.
    paid = {term: value * (2 if " " in term else 1) for term, value in paid.items()}
    best = sorted((term for term in paid if not term.startswith(CATEGORY)), key=lambda term: -paid[term])
    shown: list[str] = []
    for term in best:
        if len(shown) < most and not any(set(term.split()) & set(other.split()) for other in shown):
            shown.append(term)
    return [_spelled(term, text) for term in shown]


def _spelled(term: str, text: PaperText) -> str:
    """The first place that has the stems in a row."""
    words = term.split()
    for field in text.fields():
        for start in field.stems.get(words[0], ()):
            found = field.tokens[start : start + len(words)]
            if [token.stem for token in found] == words:
                return " ".join(token.surface for token in found)
    return term


def term_id(term: str) -> int:
    """32 bits of a term: two of the 64 that an interest weighs are never so alike that it shows."""
    return crc32(term.encode())


@dataclass(frozen=True, eq=False)
class TermTable:
    """The terms of many papers, row after row; row r lies in `offsets[r]:offsets[r + 1]`."""

    offsets: NDArray[np.int64]
    ids: NDArray[np.uint32]
    values: Vector

    @classmethod
    def of(cls, papers: Iterable[Terms]) -> TermTable:
        rows = [packed(terms) for terms in papers]
        return cls.joined(b"".join(rows), [len(row) for row in rows])

    @classmethod
    def joined(cls, rows: bytes, lengths: Sequence[int]) -> TermTable:
        """From what `packed` made of each paper, one behind the other, and how many bytes each is."""
        found = np.frombuffer(rows, PACKED)
        ends = np.cumsum(np.asarray(lengths, np.int64)) // PACKED.itemsize
        offsets = np.concatenate([np.zeros(1, np.int64), ends])
        return cls(offsets, found["id"].astype(np.uint32), found["value"].astype(np.float32))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def part(self, start: int, count: int) -> TermTable:
        """`count` papers from `start` on, or as many as there are."""
        offsets = self.offsets[start : start + count + 1]
        inside = slice(offsets[0], offsets[-1])
        return TermTable(offsets - offsets[0], self.ids[inside], self.values[inside])

    def scores(self, weights: Terms) -> Vector:
        """For each paper the sum of its terms' weights; shape (len(self),)."""
        rows, values, sizes = self._of(list(weights))
        paid = np.repeat(np.array(list(weights.values()), np.float64), sizes) * values
        summed = np.bincount(rows, paid, len(self)) + weights.get(ALWAYS, 0.0)
        return summed.astype(np.float32)

    def moments(self, terms: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """For each term the share of papers that have it, and the mean and variance of its weight over all."""
        _, values, sizes = self._of(terms)
        which, count = np.repeat(np.arange(len(terms)), sizes), max(1, len(self))
        share, mean, square = (np.bincount(which, values**power, len(terms)) / count for power in range(3))
        return share, mean, square - mean**2

    def _of(self, terms: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """The rows that have the terms, term after term, with their values; and how many each term has."""
        known, rows, values = self._by_term
        wanted = np.array([term_id(term) for term in terms], np.uint32)
        starts, ends = (np.searchsorted(known, wanted, side) for side in ("left", "right"))
        sizes = ends - starts
        at = np.arange(sizes.sum()) + np.repeat(starts - np.cumsum(sizes) + sizes, sizes)
        return rows[at], values[at].astype(np.float64), sizes

    @cached_property
    def _by_term(self) -> tuple[NDArray[np.uint32], NDArray[np.int64], Vector]:
        """All ids in order, each with its row and value (an inverted index)."""
        # One number sorts many times quicker than an order is found.
        keys = (self.ids.astype(np.uint64) << np.uint64(32)) | np.arange(len(self.ids), dtype=np.uint64)
        keys.sort()
        order = (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
        rows = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        return (keys >> np.uint64(32)).astype(np.uint32), rows[order], self.values[order]


def packed(terms: Terms) -> bytes:
    """A paper's terms in six bytes each, as the archive keeps them."""
    return np.array([(term_id(term), value) for term, value in terms.items()], PACKED).tobytes()


# ── learning ──────────────────────────────────────────────────────────────────────────────────────────────────


def rare_terms(text: Terms, archive: TermTable) -> dict[str, float]:
    """A description's terms, the rarer in the archive the heavier (TF-IDF)."""
    share, _, _ = archive.moments(list(text))
    rarity = np.log((1 + len(archive)) / (1 + share * len(archive)))
    return {term: value * float(idf) for (term, value), idf in zip(text.items(), rarity, strict=True) if idf > 0}


def distinctive_terms(examples: Sequence[Terms], archive: TermTable, most: int) -> dict[str, float]:
    """Terms that the examples have more of than the archive: the `most` that separate them best.

    Each weighs as in linear discriminant analysis of independent terms: the difference of the means over the
    variance, which is ridged.
    """
    mean = _mean(examples)
    names = [term for term in mean if not term.startswith(CATEGORY)]
    _, usual, variance = archive.moments(names)
    more = np.array([mean[name] for name in names]) - usual
    weights = more / (variance + RIDGE)
    best = np.argsort(-weights * np.maximum(more, 0), kind="stable")[:most]
    return {names[i]: float(weights[i]) for i in best if more[i] > 0}


def distinctive_categories(examples: Sequence[Terms], archive: TermTable) -> dict[str, float]:
    """For each category of the examples the logarithm of its odds among them over its odds in the archive."""
    mean = {term: share for term, share in _mean(examples).items() if term.startswith(CATEGORY)}
    share, _, _ = archive.moments(list(mean))
    usual = (share * len(archive) + 0.5) / (len(archive) + 1)
    theirs = (np.array(list(mean.values())) * len(examples) + PRIOR * usual) / (len(examples) + PRIOR)
    odds = np.log(theirs / (1 - theirs) * (1 - usual) / usual)
    return {term: float(one) for term, one in zip(mean, odds, strict=True)}


def _mean(examples: Sequence[Terms]) -> dict[str, float]:
    total: Counter[str] = Counter()
    for one in examples:
        total.update(one)
    return {term: value / len(examples) for term, value in total.items()}
