"""Matches are written once per subscription and paper, whatever is written twice."""

from typing import Any

import pytest
from sqlalchemy import insert, select

from services.store.accounts import accounts
from services.store.db.database import Database, rows
from services.store.db.tables import match, paper, subscription
from services.store.subscriptions import matches


@pytest.fixture
def given(db: Database) -> list[dict[str, Any]]:
    """Every match of three subscriptions and three papers."""
    with db.transaction() as tx:
        account = accounts.add(tx, "ada@example.org", "UTC")
        asked = [{"account_id": account, "name": "Mine", "shard": 0, "revision": n} for n in range(1, 4)]
        subscriptions = tx.scalars(insert(subscription).returning(subscription.c.id), asked).all()
        days = {"announced_on": "2026-05-04", "first_seen_at": "2026-05-04"}
        known = [{"title": f"Paper {n}", "title_key": f"paper {n}", **days} for n in range(3)]
        papers = tx.scalars(insert(paper).returning(paper.c.id), known).all()
    common = {"account_id": account, "run_id": None, "score": 0.5, "revision": 1}
    why = 'tab\t, backslash \\ , "quote", \\N and a line\nbreak: 注意'
    return [
        {**common, "subscription_id": one, "paper_id": other, "decided": {"why": why}}
        for one in subscriptions
        for other in papers
    ]


def test_what_is_written_is_what_was_given(db: Database, given: list[dict[str, Any]]) -> None:
    with db.transaction() as tx:
        assert matches.store(tx, given) == 9
        found = rows(tx, select(match).order_by(match.c.subscription_id, match.c.paper_id))
    assert [{name: row[name] for name in given[0]} for row in found] == given
    assert all(row["notified_at"] is None and row["created_at"] is not None for row in found)


def test_what_exists_stays_as_it_is(db: Database, given: list[dict[str, Any]]) -> None:
    with db.transaction() as tx:
        assert matches.store(tx, given[:4]) == 4
    with db.transaction() as tx:
        again = [{**row, "score": 0.9, "decided": {"why": "another reason"}} for row in [*given, *given]]
        assert matches.store(tx, again) == 5
        assert matches.store(tx, again) == 0, "twice in one transaction"
        scores = tx.scalars(select(match.c.score).order_by(match.c.subscription_id, match.c.paper_id)).all()
    assert scores == [0.5] * 4 + [0.9] * 5


def test_nothing_is_written_of_a_transaction_that_fails(db: Database, given: list[dict[str, Any]]) -> None:
    def interrupted() -> None:
        with db.transaction() as tx:
            matches.store(tx, given)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        interrupted()
    with db.transaction() as tx:
        assert matches.store(tx, given[:1]) == 1
        assert len(rows(tx, select(match))) == 1
