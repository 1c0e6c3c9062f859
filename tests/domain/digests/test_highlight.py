"""Highlights of a paper: matched words, the most relevant sentence, and the displayed part of a long abstract."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.digests.highlight import distinctive_sentence, distinctive_stems, merge_spans, pieces, sentences
from services.domain.query.paper_text import FieldText

ABSTRACT = (
    "Graphs are everywhere, e.g. in Fig. 2 of A. Turing et al. Their study is old. "
    "We train agents that plan! Do agents plan? Yes, (mostly) they do."
)


def sentence_texts(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


def test_abbreviations_and_numbers_do_not_end_a_sentence() -> None:
    assert sentence_texts(ABSTRACT) == [
        "Graphs are everywhere, e.g. in Fig. 2 of A. Turing et al. Their study is old.",
        "We train agents that plan!",
        "Do agents plan?",
        "Yes, (mostly) they do.",
    ]
    assert sentence_texts("GPT 4.5 is 3.2 times as fast.") == ["GPT 4.5 is 3.2 times as fast."]
    assert sentence_texts("") == []


@given(st.text(max_size=200))
def test_sentences_contain_every_word_of_a_text(text: str) -> None:
    text = " ".join(text.split())
    assert "".join("".join(sentence_texts(text)).split()) == "".join(text.split())


def test_overlapping_spans_are_merged() -> None:
    assert merge_spans([(5, 9), (0, 3), (2, 6), (9, 12), (20, 21)]) == ((0, 12), (20, 21))


def test_the_distinctive_sentence_has_the_most_matched_words() -> None:
    text = FieldText("abstract", ABSTRACT)
    agents, plan = ABSTRACT.index("agents"), ABSTRACT.index("plan!")
    assert distinctive_sentence(text, [(0, 6), (agents, agents + 6), (plan, plan + 4)], ()) == sentences(ABSTRACT)[1]


def test_without_matched_words_the_sentence_with_words_of_the_interest_is_chosen() -> None:
    text = FieldText("abstract", ABSTRACT)
    assert distinctive_sentence(text, [], distinctive_stems("training of an agent")) == sentences(ABSTRACT)[1]
    assert distinctive_sentence(text, [], distinctive_stems("proteins")) is None


def test_function_words_and_categories_are_not_distinctive() -> None:
    assert distinctive_stems("Models of a plan") == {"model", "plan"}
    assert distinctive_stems("", {"tool use": 0.5, "cat:cs.LG": 0.3}) == {"tool", "use"}


LONG = "Short start. " + "Filler words go on and on here. " * 20 + "The agents plan well. " + "More filler. " * 20


@pytest.mark.parametrize("limit", [0, 1, 5, 40, 100, 300, 5000])
def test_the_displayed_text_keeps_to_the_limit(limit: int) -> None:
    key = (LONG.index("The agents"), LONG.index("The agents") + 21)
    assert len("".join(piece.text for piece in pieces(LONG, (), limit, key))) <= limit


def test_a_long_abstract_is_cut_to_its_first_and_its_key_sentence() -> None:
    start = LONG.index("The agents")
    cut = pieces(LONG, [(start + 4, start + 10)], 100, (start, start + 21))
    text = "".join(piece.text for piece in cut)
    assert text.startswith("Short start. … The agents plan well. More")
    assert text.endswith("…")
    assert [piece.text for piece in cut if piece.hit] == ["agents"]
    assert "".join(piece.text for piece in cut if piece.key) == "The agents plan well."


def test_a_key_sentence_that_leaves_no_room_is_displayed_alone() -> None:
    start = LONG.index("The agents")
    text = "".join(piece.text for piece in pieces(LONG, (), 30, (start, start + 21)))
    assert text == "… The agents plan well. More…"


@given(st.text(max_size=120), st.lists(st.tuples(st.integers(0, 120), st.integers(0, 120)), max_size=4))
def test_the_pieces_of_a_short_text_join_to_the_text(text: str, hits: list[tuple[int, int]]) -> None:
    spans = merge_spans((a, b) for a, b in hits if a < b <= len(text))
    cut = pieces(text, spans, 120)
    assert "".join(piece.text for piece in cut) == text
    assert "".join(piece.text for piece in cut if piece.hit) == "".join(text[a:b] for a, b in spans)
