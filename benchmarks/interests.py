"""All interests of a shard against a batch of papers, compared with the float32 matrix product of numpy.

Interests are mixtures of the vectors of real papers. About one paper in 500 passes a threshold. `ours` and `peer` are
seconds; `ours` also finds the matching pairs, the peer only multiplies. Lines with `terms` add 24 random lexical terms
to each interest. `ARGS`: sizes, by default 10,000, 100,000 and 1,000,000.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.relevance import DEFAULT, load  # noqa: E402
from services.domain.interests.index import InterestIndex, MatchedPairs  # noqa: E402
from services.domain.interests.terms import TermTable  # noqa: E402

Vector = NDArray[np.float32]
SIZES = (10_000, 100_000, 1_000_000)
PAPERS = 256
TERMS = 24
ROUNDS = 7
BLOCK = 4096
"""The number of interests in one product of the peer."""


def best(*works: Callable[[], object]) -> list[float]:
    """The shortest seconds of seven rounds for each. The rounds alternate, so that other processes slow all down."""
    found = [[_seconds(work) for work in works] for _ in range(ROUNDS)]
    return [min(times) for times in zip(*found, strict=True)]


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def mixtures(vectors: Vector, count: int, random: np.random.Generator) -> Vector:
    """Unit vectors: a random mixture of three papers with a little noise."""
    picked = vectors[random.integers(0, len(vectors), (count, 3))]
    mixed = (picked * random.random((count, 3, 1), np.float32)).sum(axis=1)
    mixed += random.normal(0, 0.01, mixed.shape).astype(np.float32)
    return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), np.float32)


def thresholds_of(weights: Vector, papers: Vector) -> Vector:
    """The best score among about 500 other papers for each interest, so that one paper in 500 passes."""
    found = np.empty(len(weights), np.float32)
    for start in range(0, len(weights), BLOCK):
        scores = papers @ weights[start : start + BLOCK].T
        found[start : start + BLOCK] = scores.max(axis=0)
    return found


def expected(index: Vector, thresholds: Vector, papers: Vector) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """The pairs computed in float32: those that must match, and those that may, within 1e-5 of the threshold."""
    surely: set[tuple[int, int]] = set()
    perhaps: set[tuple[int, int]] = set()
    for start in range(0, len(index), BLOCK):
        over = papers @ index[start : start + BLOCK].T - thresholds[start : start + BLOCK]
        for limit, into in ((1e-5, surely), (-1e-5, perhaps)):
            rows, columns = np.nonzero(over >= limit)
            into.update(zip(rows.tolist(), (columns + start).tolist(), strict=True))
    return surely, perhaps


def product_of(weights: Vector, papers: Vector) -> None:
    for start in range(0, len(weights), BLOCK):
        papers @ weights[start : start + BLOCK].T


def main() -> None:
    archive, ranked, _, _ = load(DEFAULT)
    random = np.random.default_rng(7)
    papers, table = ranked.vectors[:PAPERS], ranked.table.part(0, PAPERS)
    known = sorted({term for terms in archive.terms for term in terms if not term.startswith("cat:")})
    for size in [int(one) for one in sys.argv[1:]] or SIZES:
        weights = np.concatenate(
            [mixtures(archive.vectors, min(BLOCK, size - at), random) for at in range(0, size, BLOCK)]
        )
        report(size, weights, thresholds_of(weights, ranked.vectors[PAPERS:]), papers, table, known, random)


def report(
    size: int, weights: Vector, thresholds: Vector, papers: Vector, table: TermTable, known: list[str],
    random: np.random.Generator,
) -> None:  # fmt: skip
    index = InterestIndex(weights.shape[1], threads=len(os.sched_getaffinity(0)))
    begin = time.perf_counter()
    for id in range(size):
        index.put(id, weights[id], float(thresholds[id]))
    built = time.perf_counter() - begin
    found: MatchedPairs = index.match(papers)
    ours, peer = best(lambda: index.match(papers), lambda: product_of(weights, papers))
    surely, perhaps = expected(weights, thresholds, papers)
    pairs = set(zip(found.papers.tolist(), found.ids.tolist(), strict=True))
    line = {
        "name": "interests", "interests": size, "papers": len(papers), **figures(ours, peer),
        "same_answers": surely <= pairs <= perhaps, "matches": len(pairs),
        "bytes_per_interest": round(index.bytes_per_interest), "build_seconds": round(built, 2),
    }  # fmt: skip
    print(json.dumps(line), flush=True)
    for id in range(size):
        words = {known[at]: 0.01 for at in random.integers(0, len(known), TERMS)}
        index.put(id, weights[id], float(thresholds[id]), words)
    index.match(papers, table)
    ours, peer = best(lambda: index.match(papers, table), lambda: product_of(weights, papers))
    print(json.dumps(line | figures(ours, peer) | {"terms": TERMS}), flush=True)


def figures(ours: float, peer: float) -> dict[str, float]:
    return {"ours": round(ours, 4), "peer": round(peer, 4), "ratio": round(peer / ours, 2)}


if __name__ == "__main__":
    main()
