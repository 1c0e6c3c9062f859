"""Changes of a paper that update a sent message: an upvote step, a link to code, and a new version."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from services.domain.digests.updates import idempotency_key, needs_update, snapshot
from services.domain.papers.paper import Paper

PAPER = Paper(id=1, title="A", announced_on=date(2026, 5, 4), first_seen_at=datetime(2026, 5, 4, tzinfo=UTC), upvotes=6)
SENT = snapshot({1: PAPER})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"upvotes": 9}, False),
        ({"upvotes": 10}, True),
        ({"links": {"code": "https://example.org"}}, True),
        ({"links": {"pdf": "https://example.org"}}, False),
        ({"version": 2}, True),
        ({"comments": 90, "abstract": "longer", "categories": ("cs.LG",)}, False),
    ],
)
def test_an_upvote_step_code_and_a_version_need_an_update(change: dict[str, object], expected: bool) -> None:
    assert needs_update(SENT, snapshot({1: replace(PAPER, **change)})) is expected  # type: ignore[arg-type]


def test_a_deleted_paper_needs_no_update() -> None:
    assert not needs_update(SENT, {})


def test_equal_snapshots_have_one_idempotency_key() -> None:
    assert idempotency_key(SENT) == idempotency_key(snapshot({1: replace(PAPER, title="B")}))
    assert idempotency_key(SENT) != idempotency_key(snapshot({1: replace(PAPER, version=2)}))
