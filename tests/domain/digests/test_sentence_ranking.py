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
    given = np.array(rows, np.float32)
    return np.asarray(given / np.linalg.norm(given, axis=1, keepdims=True), np.float32)


def paper(abstract: str = ABSTRACT) -> Paper:
    day = date(2026, 5, 4)
    return Paper(
        id=1, title="A title", abstract=abstract, announced_on=day, first_seen_at=datetime(2026, 5, 4, tzinfo=UTC)
    )


def chosen(one: Paper, *reasons: Reason) -> str:
    found = with_evidence(one, reasons)
    assert found.sentence is not None
    return one.abstract[slice(*found.sentence)]


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=12), st.integers(2, 64))
def test_in_8_bits_a_sentence_tells_as_much(seeds: list[int], dimensions: int) -> None:
    rows = unit(*(np.random.default_rng(seed).normal(size=dimensions).tolist() for seed in seeds))
    weights = np.ones(dimensions, np.float32)
    known = pack(rows, np.zeros(dimensions, np.float32))
    assert len(known) == len(seeds) * (dimensions + 2)
    exact = rows @ weights
    best = int(np.argmax(score_sentences(known, weights)))
    assert exact[best] >= exact.max() - dimensions / 127


def test_both_the_interest_and_the_paper_itself_count() -> None:
    rows = unit([1, 0, 0], [0.9, 0.5, 0], [0, 1, 0])
    interest, whole = np.array([1, 0, 0], np.float32), unit([0.5, 1, 0])[0]
    by_interest = score_sentences(pack(rows, np.zeros(3, np.float32)), interest)
    both = score_sentences(pack(rows, whole), interest)
    assert int(np.argmax(by_interest)) == 0
    assert int(np.argmax(both)) == 1


@pytest.mark.parametrize("known", [b"", b"x", b"x" * 11])
def test_what_is_of_another_model_says_nothing(known: bytes) -> None:
    assert score_sentences(known, np.ones(3, np.float32)) == ()


def test_one_sentence_is_the_telling_one() -> None:
    known = pack(unit([1, 0]), unit([1, 0])[0])
    assert closest_sentence("Only this.", [score_sentences(known, np.ones(2, np.float32))]) == (0, 10)


def test_an_interest_sets_off_the_sentence_that_is_closest() -> None:
    assert chosen(paper(), Reason(**MATCHES, score=1.0, closeness=(0.1, 2.0, -1.0))) == "We fold proteins with agents."


def test_without_vectors_it_is_chosen_by_words() -> None:
    late = Reason(**MATCHES, score=1.0)
    assert chosen(paper(), late) == "Everybody loves agents."
    stale = Reason(**MATCHES, score=1.0, closeness=(0.1, 2.0))
    assert chosen(paper(), stale) == "Everybody loves agents.", "the text has another number of sentences by now"


def test_several_interests_choose_together() -> None:
    first = Reason(**MATCHES, score=1.0, closeness=(1.0, 0.9, -1.0))
    second = Reason(**MATCHES, score=1.0, closeness=(-1.0, 0.8, 1.0))
    assert chosen(paper(), first, second) == "We fold proteins with agents."


def test_words_that_were_asked_for_come_first() -> None:
    asked = Reason(**{**MATCHES, "interest": ""}, query=parse("experiments"))
    close = Reason(**MATCHES, score=1.0, closeness=(0.1, 2.0, -1.0))
    assert chosen(paper(), asked, close) == "Experiments show it."


def test_an_endless_abstract_gets_so_many_vectors_and_no_more() -> None:
    endless = paper("This is one. " * 200)
    assert len(sentences_of(endless)) == MAX_SENTENCES
    levels = [0.0] * MAX_SENTENCES
    levels[7] = 1.0
    text = endless.abstract.strip()
    assert closest_sentence(text, [levels]) == sentences(text)[7]


def test_an_empty_abstract_has_none() -> None:
    assert sentences_of(paper("")) == []
    assert pack(np.zeros((0, 3), np.float32), np.ones(3, np.float32)) == b""
