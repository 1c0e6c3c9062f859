import numpy as np
import pytest
from numpy.typing import NDArray

from services.domain.learning import (
    FEWEST_PAPERS,
    MOST_TERMS,
    SOFT_EXAMPLES,
    Archive,
    Interest,
    Sample,
    learn,
    separating,
    soft_examples,
)
from services.domain.lexical import ALWAYS, TermTable

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
    soft = None
    if text is not None and not len(liked):
        rows = soft_examples(text, ARCHIVE)
        soft = Sample(ARCHIVE.vectors[rows], [ROWS[row] for row in rows])
    assert ranks_its_own(learn(text, liked, NOTHING.vectors, ARCHIVE, soft))


@pytest.mark.parametrize(("text", "liked"), [(TEXT, NOTHING), (None, LIKED), (TEXT, LIKED)])
def test_a_score_of_0_is_the_usual_paper_and_1_its_own(text: Sample | None, liked: Sample) -> None:
    interest = learn(text, liked, NOTHING.vectors, ARCHIVE, None)
    assert interest.scores(ARCHIVE.vectors, ARCHIVE.terms).mean() == pytest.approx(0, abs=1e-3)
    own = [one for one in (text, liked) if one is not None and len(one)]
    assert np.mean([interest.scores(one.vectors, TermTable.of(one.terms)).mean() for one in own]) == pytest.approx(
        1, abs=1e-3
    )


def test_the_soft_examples_of_a_text_are_the_closest_papers() -> None:
    rows = soft_examples(TEXT, ARCHIVE)
    assert len(rows) == SOFT_EXAMPLES
    assert set(rows[:10]) == set(range(390, 400))


def test_terms_are_at_most_64_with_the_constant() -> None:
    many = Sample(LIKED.vectors, [{f"{row}-{n}": 1.0 for n in range(90)} for row in range(6)])
    interest = learn(TEXT, many, NOTHING.vectors, ARCHIVE, None)
    assert len(interest.terms) == MOST_TERMS
    assert ALWAYS in interest.terms


def test_a_disliked_paper_loses() -> None:
    before = learn(TEXT, LIKED, NOTHING.vectors, ARCHIVE, None)
    disliked = LIKED.vectors[:1]
    after = learn(TEXT, LIKED, disliked, ARCHIVE, None)
    usual = cloud(11, 50)
    gap = lambda one: float((disliked @ one.weights).mean() - (usual @ one.weights).mean())  # noqa: E731
    assert gap(after) < gap(before)


def test_words_alone_make_a_difference() -> None:
    interest = learn(None, LIKED, NOTHING.vectors, ARCHIVE, None)
    same = np.repeat(LIKED.vectors[:1], 2, axis=0)
    with_word, without = interest.scores(same, TermTable.of([{"diffus": 1.0}, {}]))
    assert with_word > without


def test_a_liked_paper_of_the_archive_is_not_also_its_opposite() -> None:
    inside, outside = ARCHIVE.vectors[390:], ARCHIVE.vectors[:390]
    assert separating(inside, ARCHIVE.vectors, 0.15) == pytest.approx(separating(inside, outside, 0.15), abs=1e-5)


@pytest.mark.parametrize("vectors", [ARCHIVE.vectors, np.repeat(ARCHIVE.vectors[:1], 400, axis=0)])
def test_an_archive_without_any_difference_still_gives_finite_weights(vectors: Vector) -> None:
    same = Archive(vectors, TermTable.of([{}] * len(vectors)))
    for liked in (LIKED, Sample(same.vectors[:3], [{}] * 3)):
        interest = learn(TEXT, liked, LIKED.vectors, same, None)
        assert np.isfinite(interest.weights).all()
        assert np.isfinite(list(interest.terms.values())).all()


def test_the_fewest_papers_are_enough() -> None:
    interest = learn(TEXT, LIKED, NOTHING.vectors, ARCHIVE.newest(FEWEST_PAPERS), None)
    assert np.isfinite(interest.weights).all()
