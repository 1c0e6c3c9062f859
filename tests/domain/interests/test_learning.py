import numpy as np
import pytest
from numpy.typing import NDArray

from services.domain.interests.learning import (
    FLOOR,
    MAX_TERMS,
    MIN_PAPERS,
    PSEUDO_LIKED_PAPERS,
    Archive,
    Interest,
    Sample,
    learn,
    svm_direction,
    usual_percentile,
)
from services.domain.interests.terms import CONSTANT_TERM, TermTable

Vector = NDArray[np.float32]
SIZE = 16


def units(rows: Vector) -> Vector:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def cloud(seed: int, count: int, towards: int | None = None) -> Vector:
    rows = np.random.default_rng(seed).normal(size=(count, SIZE)).astype(np.float32)
    rows[:, 0] += 3  # what all papers have in common
    if towards is not None:
        rows[:, towards] += 6
    return units(rows)


def words(seed: int, count: int, *own: str) -> list[dict[str, float]]:
    random = np.random.default_rng(seed)
    return [
        {**{f"w{at}": 1.0 for at in random.integers(0, 60, 12)}, **dict.fromkeys(own, 1.0), "cat:cs.LG": 1.0}
        for _ in range(count)
    ]


ROWS = words(2, 390) + words(3, 10, "diffus")
ARCHIVE = Archive(np.concatenate([cloud(0, 390), cloud(1, 10, 5)]), TermTable.of(ROWS))
WIDE_ROWS = words(14, 1900) + words(15, 100, "diffus")
WIDE = Archive(np.concatenate([cloud(12, 1900), cloud(13, 100, 5)]), TermTable.of(WIDE_ROWS))
LIKED = Sample(cloud(4, 6, 5), words(5, 6, "diffus"))
NOTHING = Sample(cloud(0, 0), [])
TEXT = Sample(cloud(6, 1, 5), [{"diffus": 1.0, "unheard": 1.0}])


def ranks_its_own(interest: Interest) -> bool:
    fresh = np.concatenate([cloud(7, 100), cloud(8, 10, 5)])
    scores = interest.scores(fresh, TermTable.of(words(9, 100) + words(10, 10, "diffus")))
    return bool(scores[100:].min() > scores[:100].max())


@pytest.mark.parametrize(
    ("text", "liked"),
    [(TEXT, NOTHING), (None, LIKED), (TEXT, LIKED), (None, Sample(LIKED.vectors[:1], LIKED.terms[:1]))],
)
def test_an_interest_ranks_its_own_first(text: Sample | None, liked: Sample) -> None:
    assert ranks_its_own(learn(text, liked, NOTHING.vectors, ARCHIVE))


@pytest.mark.parametrize(("text", "liked"), [(TEXT, NOTHING), (None, LIKED)])
def test_the_usual_paper_scores_0_and_one_in_twenty_the_floor(text: Sample | None, liked: Sample) -> None:
    interest = learn(text, liked, NOTHING.vectors, WIDE)
    scores = interest.scores(WIDE.vectors, WIDE.terms)
    assert scores.mean() == pytest.approx(0, abs=1e-3)
    assert (scores >= FLOOR).mean() == pytest.approx(0.05, abs=0.002)


def test_where_a_tenth_of_the_archive_is_what_is_wanted_all_of_it_is_above_the_floor() -> None:
    archive = Archive(np.concatenate([cloud(12, 360), cloud(13, 40, 5)]), TermTable.of([{}] * 400))
    liked = Sample(LIKED.vectors, [{}] * len(LIKED))
    scores = learn(None, liked, NOTHING.vectors, archive).scores(archive.vectors, archive.terms)
    assert scores[360:].min() > FLOOR
    assert (scores[:360] > FLOOR).mean() < 0.02


def test_a_text_alone_learns_from_the_papers_closest_to_it() -> None:
    """They share a direction that the text itself says nothing of."""
    closest = cloud(1, PSEUDO_LIKED_PAPERS, 5)
    closest[:, 9] += 1
    archive = Archive(np.concatenate([cloud(0, 388), units(closest)]), TermTable.of([{}] * 400))
    text = np.zeros((1, SIZE), np.float32)
    text[0, 5] = 1
    weights = learn(Sample(text, [{}]), NOTHING, NOTHING.vectors, archive).weights
    others = np.delete(weights, [0, 5, 9])
    assert weights[9] > 2 * np.abs(others).max()


def test_terms_are_at_most_64_with_the_constant() -> None:
    many = Sample(LIKED.vectors, [{f"{row}-{n}": 1.0 for n in range(90)} for row in range(6)])
    interest = learn(TEXT, many, NOTHING.vectors, ARCHIVE)
    assert len(interest.terms) == MAX_TERMS
    assert CONSTANT_TERM in interest.terms


def test_a_disliked_paper_loses() -> None:
    before = learn(TEXT, LIKED, NOTHING.vectors, ARCHIVE)
    disliked = LIKED.vectors[:1]
    after = learn(TEXT, LIKED, disliked, ARCHIVE)
    usual = cloud(11, 50)
    gap = lambda one: float((disliked @ one.weights).mean() - (usual @ one.weights).mean())  # noqa: E731
    assert gap(after) < gap(before)


def test_words_alone_make_a_difference() -> None:
    interest = learn(None, LIKED, NOTHING.vectors, ARCHIVE)
    same = np.repeat(LIKED.vectors[:1], 2, axis=0)
    with_word, without = interest.scores(same, TermTable.of([{"diffus": 1.0}, {}]))
    assert with_word > without


def test_a_liked_paper_of_the_archive_is_not_also_its_opposite() -> None:
    inside, outside = ARCHIVE.vectors[390:], ARCHIVE.vectors[:390]
    assert svm_direction(inside, ARCHIVE.vectors, 0.15) == pytest.approx(svm_direction(inside, outside, 0.15), abs=1e-5)


@pytest.mark.parametrize("vectors", [ARCHIVE.vectors, np.repeat(ARCHIVE.vectors[:1], 400, axis=0)])
def test_an_archive_without_any_difference_still_gives_finite_weights(vectors: Vector) -> None:
    same = Archive(vectors, TermTable.of([{}] * len(vectors)))
    for liked in (LIKED, Sample(same.vectors[:3], [{}] * 3)):
        interest = learn(TEXT, liked, LIKED.vectors, same)
        assert np.isfinite(interest.weights).all()
        assert np.isfinite(list(interest.terms.values())).all()


def test_the_fewest_papers_are_enough() -> None:
    interest = learn(TEXT, LIKED, NOTHING.vectors, ARCHIVE.newest(MIN_PAPERS))
    assert np.isfinite(interest.weights).all()


@pytest.mark.parametrize(("score", "percentile"), [(0, 0.5), (0.17, 0.95), (0.3, 0.99), (0.43, 0.997)])
def test_a_score_has_a_usual_percentile(score: float, percentile: float) -> None:
    assert usual_percentile(score) == pytest.approx(percentile, abs=1e-6)
    assert usual_percentile(-score) == 0.5
    assert usual_percentile(score) < usual_percentile(score + 0.6) < usual_percentile(score + 2) < 1
