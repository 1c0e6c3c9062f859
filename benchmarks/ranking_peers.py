"""The rankings of peers: mean cosine (zotero-arxiv-daily), SVM on TF-IDF (arxiv-sanity-lite), BM25 and cosine."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.domain.interests.learning import Sample

Vector = NDArray[np.float32]
SVM_COST = 0.01


@dataclass(frozen=True)
class Asked:
    """An optional text and liked papers. `counts` are the words of the text, if there is one, and of each paper."""

    text: Sample | None
    liked: Sample
    counts: Sequence[Mapping[str, int]]


Peer = Callable[[Asked], Vector]
"""A score for each ranked paper."""


@dataclass(frozen=True)
class Words:
    counts: Sequence[Mapping[str, int]]
    terms: Sequence[Mapping[str, float]]
    vectors: Vector


class Tfidf:
    """Sparse rows of unit length over the words and pairs that two papers of the archive have."""

    def __init__(self, archive: Words) -> None:
        counts = Counter(term for words in archive.counts for term in words)
        kept = [term for term, count in counts.items() if count > 1]
        self.columns = {term: column for column, term in enumerate(kept)}
        self.idf = np.log((1 + len(archive.counts)) / (1 + np.array([counts[term] for term in kept]))) + 1

    def rows(self, papers: Sequence[Mapping[str, int]]) -> "Rows":
        rows, columns, values = [], [], []
        for row, terms in enumerate(papers):
            known = [(self.columns[term], value) for term, value in terms.items() if term in self.columns]
            if known:
                at = np.array([column for column, _ in known])
                found = np.array([1 + np.log(value) for _, value in known]) * self.idf[at]
                rows.append(np.full(len(at), row))
                columns.append(at)
                values.append(found / np.linalg.norm(found))
        none = np.zeros(0)
        parts = [np.concatenate(part) if part else none for part in (rows, columns, values)]
        return Rows(len(papers), len(self.idf), parts[0].astype(int), parts[1].astype(int), parts[2])


@dataclass(frozen=True)
class Rows:
    count: int
    width: int
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    value: NDArray[np.float64]

    def times(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(self.row, self.value * weights[self.column], self.count)

    def transposed_times(self, each: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(self.column, self.value * each[self.row], self.width)

    def above(self, other: "Rows") -> "Rows":
        parts = ((self.row, other.row + self.count), (self.column, other.column), (self.value, other.value))
        row, column, value = (np.concatenate(part) for part in parts)
        return Rows(self.count + other.count, self.width, row, column, value)


def svm(liked: Rows, others: Rows) -> NDArray[np.float64]:
    """Linear, squared hinge, classes balanced: Newton's method, its steps by conjugate gradients."""
    rows = liked.above(others)
    sides = np.repeat([1.0, -1.0], [liked.count, others.count])
    costs = SVM_COST * rows.count / 2 / np.repeat([liked.count, others.count], [liked.count, others.count])
    plane, bias = np.zeros(rows.width), 0.0
    for _ in range(15):
        inside = sides * (rows.times(plane) + bias) < 1
        cost = np.where(inside, 2 * costs, 0.0)
        solved, solved_bias = _solve(rows, cost, sides, plane, bias)
        done = np.abs(solved - plane).max() < 1e-6
        plane, bias = solved, solved_bias
        if done:
            break
    return plane


def _solve(
    rows: Rows, cost: NDArray[np.float64], sides: NDArray[np.float64], plane: NDArray[np.float64], bias: float
) -> tuple[NDArray[np.float64], float]:
    def product(x: NDArray[np.float64]) -> NDArray[np.float64]:
        each = cost * (rows.times(x[:-1]) + x[-1])
        return np.append(x[:-1] + rows.transposed_times(each), x[-1] + each.sum())

    x = np.append(plane, bias)
    rest = np.append(rows.transposed_times(cost * sides), (cost * sides).sum()) - product(x)
    way, left = rest.copy(), float(rest @ rest)
    for _ in range(100):
        if left < 1e-12:
            break
        moved = product(way)
        step = left / float(way @ moved)
        x, rest = x + step * way, rest - step * moved
        before, left = left, float(rest @ rest)
        way = rest + left / before * way
    return x[:-1], float(x[-1])


def peers(archive: Words, ranked: Words) -> dict[str, tuple[Peer, Callable[[str], bool]]]:
    """Each peer with the settings that it can do; a text beside examples is one more example to them."""
    tfidf = Tfidf(archive)
    others, papers = tfidf.rows(archive.counts), tfidf.rows(ranked.counts)
    counts = Counter(term for terms in archive.terms for term in terms)
    saturated = [{term: value for term, value in terms.items() if " " not in term} for terms in ranked.terms]

    def mean_cosine(asked: Asked) -> Vector:
        texts = [] if asked.text is None else [asked.text.vectors]
        return np.asarray(ranked.vectors @ np.concatenate([*texts, asked.liked.vectors]).mean(axis=0))

    def linear_svm(asked: Asked) -> Vector:
        return np.asarray(papers.times(svm(tfidf.rows(asked.counts), others)), np.float32)

    def bm25(asked: Asked) -> Vector:
        words = [term for term in asked.counts[0] if " " not in term]
        size = len(archive.terms)
        idf = {word: np.log(1 + (size - counts[word] + 0.5) / (counts[word] + 0.5)) for word in words}
        return np.array([sum(idf[word] * terms.get(word, 0.0) for word in words) for terms in saturated], np.float32)

    return {
        "zotero-arxiv-daily": (mean_cosine, lambda setting: setting != "text"),
        "arxiv-sanity-lite": (linear_svm, lambda setting: setting != "text"),
        "text-cosine": (mean_cosine, lambda setting: setting == "text"),
        "bm25": (bm25, lambda setting: setting == "text"),
    }
