import itertools
import subprocess
import sys
from collections import defaultdict
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.domain.interests.index import BLOCK_SIZE, InterestIndex, prepare
from services.domain.interests.int8_matmul import ZERO, product
from services.domain.interests.kernels import compiled_kernels
from services.domain.interests.terms import CONSTANT_TERM, TermTable

Vector = NDArray[np.float32]
WORDS = [f"word{n}" for n in range(40)]


def units(seed: int, count: int, dimensions: int = 24) -> Vector:
    rows = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def some_terms(seed: int, count: int) -> list[dict[str, float]]:
    random = np.random.default_rng(seed)
    return [
        {WORDS[at]: float(random.uniform(0.1, 2)) for at in random.choice(40, random.integers(0, 12), replace=False)}
        for _ in range(count)
    ]


def answers(index: InterestIndex, papers: Vector, terms: TermTable | None = None) -> set[tuple[int, int]]:
    found = index.match(papers, terms)
    return set(zip(found.papers.tolist(), found.ids.tolist(), strict=True))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(0, 70), st.floats(-0.5, 0.9), st.integers(1, 40))
def test_the_index_answers_as_float32_does(
    seed: int, interests: int, count: int, threshold: float, dimensions: int
) -> None:
    weights, papers = units(seed, interests, dimensions), units(seed + 1, count, dimensions)
    index = InterestIndex(dimensions)
    for id, row in enumerate(weights):
        index.put(id, row, threshold)
    over = papers @ weights.T - np.float32(threshold)
    found = index.match(papers)
    pairs = list(zip(found.papers.tolist(), found.ids.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert set(pairs) >= {(int(a), int(b)) for a, b in np.argwhere(over > 1e-5)}
    assert set(pairs) <= {(int(a), int(b)) for a, b in np.argwhere(over > -1e-5)}
    assert found.scores == pytest.approx((papers @ weights.T)[found.papers, found.ids], abs=1e-5)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-4, 30.0, 1e6]), st.sampled_from([0.0, -50.0, 1e6]))
def test_heavy_and_light_weights_lose_nothing(seed: int, size: float, constant: float) -> None:
    weights, papers = units(seed, 20) * np.float32(size), units(seed + 1, 20)
    exact = papers.astype(np.float64) @ weights.T.astype(np.float64) + constant
    index = InterestIndex(24)
    for id, row in enumerate(weights):
        index.put(id, row, float(exact[0, id]), {CONSTANT_TERM: constant})
    over, found = exact - exact[0], answers(index, papers)
    doubt = 1e-6 * (size + abs(constant))
    assert found >= {(int(a), int(b)) for a, b in np.argwhere(over > doubt)}
    assert found <= {(int(a), int(b)) for a, b in np.argwhere(over >= -doubt)}


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 20))
def test_terms_and_the_constant_are_added(seed: int, interests: int, count: int) -> None:
    weights, papers = units(seed, interests), units(seed + 1, count)
    paper_terms, interest_terms = TermTable.of(some_terms(seed + 2, count)), some_terms(seed + 3, interests)
    index, expected = InterestIndex(24), np.empty((count, interests), np.float32)
    for id, (row, terms) in enumerate(zip(weights, interest_terms, strict=True)):
        index.put(id, row, 0.4, terms | {CONSTANT_TERM: -0.1})
        expected[:, id] = papers @ row + paper_terms.scores(terms | {CONSTANT_TERM: -0.1})
    found = index.match(papers, paper_terms)
    pairs = set(zip(found.papers.tolist(), found.ids.tolist(), strict=True))
    assert pairs >= {(int(a), int(b)) for a, b in np.argwhere(expected > 0.4 + 1e-4)}
    assert pairs <= {(int(a), int(b)) for a, b in np.argwhere(expected > 0.4 - 1e-4)}
    assert found.scores == pytest.approx(expected[found.papers, found.ids], abs=1e-4)


def test_beside_a_large_constant_a_score_rounds_as_float32_does() -> None:
    index, papers = InterestIndex(24), units(6, 1)
    index.put(1, papers[0] * np.float32(-1e-4), 1e6, {CONSTANT_TERM: 1e6})
    assert answers(index, papers) == {(0, 1)}


def test_terms_whose_numbers_end_alike_are_told_apart() -> None:
    ends = defaultdict(list)
    for number in range(2000):
        ends[crc32(f"term{number}".encode()) & 0xFFFF].append(f"term{number}")
    one, other = next(terms for terms in ends.values() if len(terms) > 1)[:2]
    index, papers = InterestIndex(24), units(6, 3)
    index.put(1, np.zeros(24, np.float32), 0.5, {one: 1.0})
    index.put(2, np.zeros(24, np.float32), 0.5, {one: 1.0, other: -1.0})
    paper_terms = TermTable.of([{one: 1.0}, {other: 1.0}, {other: 1.0, one: 1.0}])
    assert answers(index, papers, paper_terms) == {(0, 1), (2, 1), (0, 2)}


def test_terms_of_other_papers_are_refused() -> None:
    index = InterestIndex(24)
    index.put(1, np.zeros(24, np.float32), 0.5, {"agent": 1.0})
    with pytest.raises(ValueError, match="2 papers, but terms of 3"):
        index.match(units(6, 2), TermTable.of([{}, {}, {"agent": 1.0}]))


def test_the_loops_are_compiled_once_and_only_when_something_is_matched() -> None:
    index, papers = InterestIndex(24), units(6, 300)
    index.put(1, papers[0], 0.9)
    read_only = papers.copy()
    read_only.flags.writeable = False
    for batch in (papers, papers[:1], papers[::2], read_only, papers.astype(np.float64)):
        index.match(np.asarray(batch), level=1)
        index.match(np.asarray(batch), TermTable.of([{"agent": 1.0}] * len(batch)))
        index.put(2, papers[1], 0.9, {"agent": 1.0})
    prepare()
    assert [len(loop.signatures) for loop in compiled_kernels()] == [1, 1]  # type: ignore[attr-defined]
    code = "import sys, services.flow.pipeline.match; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_interests_are_replaced_and_removed_in_place() -> None:
    rows, papers = units(4, 3 * BLOCK_SIZE // 2), units(5, 7)
    index, kept = InterestIndex(24), {}
    for id, row in enumerate(rows):
        index.put(id, row, 0.5, {"word1": 0.0})
    for id in range(0, len(rows), 3):
        index.remove(id)
    for id in range(1, len(rows), 3):
        index.put(id, -rows[id], 0.45)
    for id, row in enumerate(rows):
        if id % 3:
            kept[id] = (-row, 0.45) if id % 3 == 1 else (row, 0.5)
    index.remove(-1)
    assert len(index) == len(kept)
    expected = {
        (paper, id)
        for paper, (id, (row, threshold)) in itertools.product(range(7), kept.items())
        if papers[paper] @ row >= threshold
    }
    assert answers(index, papers) == expected
    for id in kept:
        index.remove(id)
    assert len(index) == 0
    assert answers(index, papers) == set()


def test_one_removed_takes_its_terms_along() -> None:
    index, papers = InterestIndex(24), units(6, 1)
    paper_terms = TermTable.of([{"agent": 1.0}])
    index.put(1, np.zeros(24, np.float32), 0.5, {"agent": 1.0})
    index.put(2, np.zeros(24, np.float32), 0.5)
    index.remove(1)
    assert answers(index, papers, paper_terms) == set()
    index.put(2, np.zeros(24, np.float32), 0.5, {"agent": 0.6})
    assert answers(index, papers, paper_terms) == {(0, 2)}


def test_fewer_terms_replace_more() -> None:
    index, papers = InterestIndex(24), units(13, 1)
    paper_terms = TermTable.of([{"agent": 1.0, "tool": 1.0}])
    index.put(1, np.zeros(24, np.float32), 0.5, {"agent": 0.3, "tool": 0.3})
    assert answers(index, papers, paper_terms) == {(0, 1)}
    index.put(1, np.zeros(24, np.float32), 0.5, {"agent": 0.3})
    assert answers(index, papers, paper_terms) == set()


def test_threads_find_the_same() -> None:
    rows, papers = units(11, 2 * BLOCK_SIZE + 5), units(12, 30)
    one, three = InterestIndex(24), InterestIndex(24, threads=3)
    for id, row in enumerate(rows):
        one.put(id, row, 0.5)
        three.put(id, row, 0.5)
    assert answers(one, papers) == answers(three, papers) != set()


def test_more_papers_than_a_batch_keep_their_rows() -> None:
    papers = units(7, 600)
    index = InterestIndex(24)
    index.put(9, papers[599], 0.999)
    assert answers(index, papers) == {(599, 9)}


def test_an_interest_of_nothing_and_one_that_takes_all() -> None:
    index, papers = InterestIndex(24), units(8, 3)
    index.put(1, np.zeros(24, np.float32), 0.1)
    index.put(2, np.zeros(24, np.float32), -1e9)
    assert answers(index, papers) == {(0, 2), (1, 2), (2, 2)}


def test_an_interest_takes_less_than_two_kilobytes() -> None:
    assert InterestIndex(384).bytes_per_interest <= 2000


def test_too_many_terms_are_refused() -> None:
    index = InterestIndex(24)
    with pytest.raises(ValueError, match="65 terms are more than 64"):
        index.put(1, units(9, 1)[0], 0.5, {f"term{n}": 1.0 for n in range(65)})
    assert len(index) == 0


def saturating(left: NDArray[np.uint8], right: NDArray[np.int8]) -> NDArray[np.int32]:
    """The sums as AVX2 makes them (VPMADDUBSW): unsigned by signed, neighbours added in 16 bits that saturate."""
    pairs = left.astype(np.int32)[:, :, None] * right.astype(np.int32)[None]
    summed = np.clip(pairs[:, 0::2] + pairs[:, 1::2], -(2**15), 2**15 - 1)
    return np.asarray(summed.sum(axis=1) - ZERO * right.astype(np.int32).sum(axis=0), np.int32)


def test_the_sums_are_exact_where_the_processor_saturates_at_16_bits() -> None:
    left = np.array([[127] * 384, [0] * 384, [127, 0] * 192], np.uint8)
    right = np.array([[127] * 384, [-127] * 384, [127, -127] * 192], np.int8).T.copy()
    exact = (left.astype(np.int32) - ZERO) @ right.astype(np.int32)
    assert (saturating(left, right) == exact).all()
    assert (product(left, right) == exact).all()
    assert not (saturating(np.full((1, 2), 255, np.uint8), right[:2]) == (255 - ZERO) * right[:2].sum(axis=0)).all()


def test_the_quantised_numbers_stay_in_their_seven_bits() -> None:
    index = InterestIndex(24)
    for id, row in enumerate(units(10, 50)):
        index.put(id, row * 10 ** (id / 10 - 3), 0.5)
    used = index._blocks[0].quantised[:50]
    assert used.min() >= ZERO - 63
    assert used.max() <= ZERO + 63


def test_each_level_has_a_threshold_of_its_own() -> None:
    index = InterestIndex(24)
    rows, papers = units(40, 5), units(30, 6)
    for id, row in enumerate(rows):
        index.put(id, row, 0.5, relaxed_thresholds=(0.3, 0.1))
    scores = papers @ rows.T
    for level, threshold in enumerate((0.5, 0.3, 0.1, 0.1, 0.1, 0.1)):
        found = index.match(papers, level=level)
        pairs = set(zip(found.papers.tolist(), found.ids.tolist(), strict=True))
        assert pairs == {(int(p), int(i)) for p, i in np.argwhere(scores >= np.float32(threshold))}
