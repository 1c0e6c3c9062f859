"""What is worth telling once more: an upvote step, code, a version; nothing else."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from services.domain.digests.updates import key, shown, worth_telling
from services.domain.papers.paper import Paper

PAPER = Paper(id=1, title="A", announced_on=date(2026, 5, 4), first_seen_at=datetime(2026, 5, 4, tzinfo=UTC), upvotes=6)
BEFORE = shown({1: PAPER})


@pytest.mark.parametrize(
    ("change", "worth"),
    [
        ({"upvotes": 9}, False),
        ({"upvotes": 10}, True),
        ({"links": {"code": "https://example.org"}}, True),
        ({"links": {"pdf": "https://example.org"}}, False),
        ({"version": 2}, True),
        ({"comments": 90, "abstract": "longer", "categories": ("cs.LG",)}, False),
    ],
)
def test_only_what_matters_is_told_once_more(change: dict[str, object], worth: bool) -> None:
    assert worth_telling(BEFORE, shown({1: replace(PAPER, **change)})) is worth  # type: ignore[arg-type]


def test_a_paper_that_is_gone_changes_nothing() -> None:
    assert not worth_telling(BEFORE, {})


def test_one_standing_has_one_key() -> None:
    assert key(BEFORE) == key(shown({1: replace(PAPER, title="B")}))
    assert key(BEFORE) != key(shown({1: replace(PAPER, version=2)}))
