from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.digests.digest import Reason, with_evidence
from services.domain.digests.highlight import MAX_SENTENCES, closest_sentence, sentences
from services.domain.digests.sentence_ranking import pack, score_sentences, sentences_of
from services.domain.papers.paper import Paper
from services.domain.query.parser import parse

ABSTRACT = "Everybody loves agents. We fold proteins with agents. Experiments show it."
MATCHES = {"subscription": 1, "name": "Mine", "why": "close", "interest": "agents"}


def unit(*rows: list[float]) -> np.ndarray:
    vectors = np.array(rows, np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def paper(abstract: str = ABSTRACT) -> Paper:
    day = date(2026, 5, 4)
    return Paper(
        id=1, title="A title", abstract=abstract, announced_on=day, first_seen_at=datetime(2026, 5, 4, tzinfo=UTC)
    )


def chosen(ranked: Paper, *reasons: Reason) -> str:
    item = with_evidence(ranked, reasons)
    assert item.sentence is not None
    return ranked.abstract[slice(*item.sentence)]


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=12), st.integers(2, 64))
def test_8_bit_vectors_choose_a_sentence_about_as_close(seeds: list[int], dimensions: int) -> None:
    rows = unit(*(np.random.default_rng(seed).normal(size=dimensions).tolist() for seed in seeds))
    weights = np.ones(dimensions, np.float32)
    packed = pack(rows, np.zeros(dimensions, np.float32))
    assert len(packed) == len(seeds) * (dimensions + 2)
    exact = rows @ weights
    best = int(np.argmax(score_sentences(packed, weights)))
    assert exact[best] >= exact.max() - dimensions / 127


def test_the_score_combines_the_interest_and_the_paper() -> None:
    rows = unit([1, 0, 0], [0.9, 0.5, 0], [0, 1, 0])
    interest, paper_vector = np.array([1, 0, 0], np.float32), unit([0.5, 1, 0])[0]
    by_interest = score_sentences(pack(rows, np.zeros(3, np.float32)), interest)
    both = score_sentences(pack(rows, paper_vector), interest)
    assert int(np.argmax(by_interest)) == 0
    assert int(np.argmax(both)) == 1


@pytest.mark.parametrize("packed", [b"", b"x", b"x" * 11])
def test_vectors_of_another_model_have_no_scores(packed: bytes) -> None:
    assert score_sentences(packed, np.ones(3, np.float32)) == ()


def test_the_only_sentence_is_the_closest() -> None:
    packed = pack(unit([1, 0]), unit([1, 0])[0])
    assert closest_sentence("Only this.", [score_sentences(packed, np.ones(2, np.float32))]) == (0, 10)


def test_the_sentence_closest_to_the_interest_is_chosen() -> None:
    assert chosen(paper(), Reason(**MATCHES, score=1.0, closeness=(0.1, 2.0, -1.0))) == "We fold proteins with agents."


def test_without_vectors_a_sentence_is_chosen_by_words() -> None:
    without_vectors = Reason(**MATCHES, score=1.0)
    assert chosen(paper(), without_vectors) == "Everybody loves agents."
    stale = Reason(**MATCHES, score=1.0, closeness=(0.1, 2.0))
    assert chosen(paper(), stale) == "Everybody loves agents.", "the text has another number of sentences now"


def test_scores_of_several_interests_are_added() -> None:
    first = Reason(**MATCHES, score=1.0, closeness=(1.0, 0.9, -1.0))
    second = Reason(**MATCHES, score=1.0, closeness=(-1.0, 0.8, 1.0))
    assert chosen(paper(), first, second) == "We fold proteins with agents."


def test_a_query_is_preferred_to_vectors() -> None:
    by_query = Reason(**{**MATCHES, "interest": ""}, query=parse("experiments"))
    close = Reason(**MATCHES, score=1.0, closeness=(0.1, 2.0, -1.0))
    assert chosen(paper(), by_query, close) == "Experiments show it."


def test_the_vectors_of_a_long_abstract_are_limited() -> None:
    endless = paper("This is one. " * 200)
    assert len(sentences_of(endless)) == MAX_SENTENCES
    scores = [0.0] * MAX_SENTENCES
    scores[7] = 1.0
    text = endless.abstract.strip()
    assert closest_sentence(text, [scores]) == sentences(text)[7]


def test_an_empty_abstract_has_no_vectors() -> None:
    assert sentences_of(paper("")) == []
    assert pack(np.zeros((0, 3), np.float32), np.ones(3, np.float32)) == b""
