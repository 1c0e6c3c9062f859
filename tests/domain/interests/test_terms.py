from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest

from services.domain.interests.terms import (
    CONSTANT_TERM,
    TermTable,
    distinctive_categories,
    distinctive_terms,
    pack_terms,
    rare_terms,
    terms_of,
    terms_of_words,
    top_terms,
)
from services.domain.papers.paper import Paper
from services.domain.query.paper_text import PaperText


def text(title: str, abstract: str = "", categories: tuple[str, ...] = ()) -> PaperText:
    seen: dict[str, Any] = {"announced_on": date(2025, 6, 1), "first_seen_at": datetime(2025, 6, 1, tzinfo=UTC)}
    return PaperText.of(Paper(id=1, title=title, abstract=abstract, categories=categories, **seen))


def test_a_paper_has_stems_pairs_of_neighbours_and_categories() -> None:
    terms = terms_of(text("Web agents", "The use of tools.", ("cs.AI",)))
    assert set(terms) == {"web", "agent", "web agent", "use", "tool", "cat:cs.AI"}
    assert terms["cat:cs.AI"] == 1


def test_a_word_counts_more_when_repeated_but_less_each_time() -> None:
    once, twice, thrice = (terms_of_words(" ".join(["agent"] * n))["agent"] for n in (1, 2, 3))
    assert 0 < thrice - twice < twice - once


def test_a_text_without_words_has_no_terms() -> None:
    assert terms_of_words("") == {}
    assert terms_of_words("!! of the ??") == {}
    assert list(TermTable.of([{}, {"agent": 1.0}]).scores({"agent": 2.0})) == [0, 2]


def test_scores_add_up_the_terms_and_the_constant() -> None:
    table = TermTable.of([{"agent": 1.0, "tool": 0.5}, {"tool": 1.5}, {"robot": 1.0}])
    assert list(table.scores({"agent": 2.0, "tool": -1.0, "unknown": 9.0, CONSTANT_TERM: 10.0})) == [11.5, 8.5, 10]
    assert list(table.part(1, 5).scores({"tool": 2.0})) == [3, 0]
    assert list(table.scores({})) == [0, 0, 0]
    assert len(TermTable.of([])) == 0


def test_moments_are_those_of_the_columns() -> None:
    table = TermTable.of([{"agent": 1.0, "tool": 0.5}, {"tool": 1.5}])
    share, mean, variance = table.moments(["tool", "agent", "unknown"])
    assert share == pytest.approx([1, 0.5, 0])
    assert mean == pytest.approx([1, 0.5, 0])
    assert variance == pytest.approx([0.25, 0.25, 0])


def test_what_is_kept_in_bytes_reads_the_same() -> None:
    terms = {"agent": 1.0, "tool use": 0.125}
    table = TermTable.joined(pack_terms(terms) + pack_terms({}), [len(pack_terms(terms)), 0, 0])
    assert len(table) == 3
    assert list(table.scores({"agent": 1.0, "tool use": 2.0})) == [1.25, 0, 0]


def archive() -> TermTable:
    return TermTable.of([{"model": 1.0, "agent": 1.0}, *[{"model": 1.0, "cat:cs.LG": 1.0}] * 50])


def test_rare_words_of_a_text_weigh_more_and_those_of_all_papers_nothing() -> None:
    weights = rare_terms({"model": 1.0, "agent": 1.0, "unheard": 1.0}, archive())
    assert weights["unheard"] > weights["agent"] > 0
    assert "model" not in weights


def test_the_terms_that_tell_are_those_that_the_archive_lacks() -> None:
    examples = [{"model": 1.0, "agent": 1.0, "tool": 1.0}, {"model": 1.0, "tool": 1.0}]
    assert list(distinctive_terms(examples, archive(), 5)) == ["tool", "agent"]
    assert list(distinctive_terms(examples, archive(), 1)) == ["tool"]


def test_categories_count_by_their_odds() -> None:
    weights = distinctive_categories([{"cat:cs.LG": 1.0, "cat:cs.IR": 1.0}] * 3, archive())
    assert weights["cat:cs.IR"] > 3 > 1 > weights["cat:cs.LG"]


def test_an_interest_is_explained_in_the_words_of_the_paper() -> None:
    weights = {"tool use": 1.0, "tool": 0.9, "web agent": 0.8, "rare": 5.0, "cat:cs.AI": 3.0, "learn": -4.0}
    paper = text("Learning tool use", "For Web-Agents.", ("cs.AI",))
    assert top_terms(weights, paper) == ["tool use", "Web Agents"]
    assert top_terms({}, paper) == []


def test_a_million_papers_would_not_overflow_their_offsets() -> None:
    assert TermTable.of([{"a": 1.0}]).offsets.dtype == np.int64
