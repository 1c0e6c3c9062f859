"""A match is stored once for each subscription and paper."""

from dataclasses import replace

import pytest
from sqlalchemy import insert, select

from services.store.accounts import accounts
from services.store.db.database import Database
from services.store.db.tables import match, paper, subscription
from services.store.subscriptions import matches
from services.store.subscriptions.records import NewMatch

REASON = 'tab\t, backslash \\ , "quote", \\N and a line\nbreak: 注意'


@pytest.fixture
def new_matches(db: Database) -> list[NewMatch]:
    """Every match of three subscriptions and three papers."""
    with db.transaction() as tx:
        account = accounts.add(tx, "ada@example.org", "UTC")
        drafts = [{"account_id": account, "name": "Mine", "shard": 0, "revision": n} for n in range(1, 4)]
        subscription_ids = tx.scalars(insert(subscription).returning(subscription.c.id), drafts).all()
        days = {"announced_on": "2026-05-04", "first_seen_at": "2026-05-04"}
        titles = [{"title": f"Paper {n}", "title_key": f"paper {n}", **days} for n in range(3)]
        paper_ids = tx.scalars(insert(paper).returning(paper.c.id), titles).all()
    return [
        NewMatch(account, subscription_id, paper_id, score=0.5, reason=REASON, revision=1)
        for subscription_id in subscription_ids
        for paper_id in paper_ids
    ]


def test_stored_matches_are_read_unchanged(db: Database, new_matches: list[NewMatch]) -> None:
    with db.transaction() as tx:
        assert matches.store(tx, new_matches) == 9
        for new in new_matches:
            stored = matches.find(tx, new.subscription_id, new.paper_id)
            assert stored is not None
            assert stored.decided == {"why": REASON}
            read = NewMatch(
                stored.account_id,
                stored.subscription_id,
                stored.paper_id,
                stored.score,
                stored.reason,
                stored.revision,
                stored.run_id,
            )
            assert read == new
            assert stored.notified_at is None
            assert stored.created_at is not None


def test_an_existing_match_is_not_changed(db: Database, new_matches: list[NewMatch]) -> None:
    with db.transaction() as tx:
        assert matches.store(tx, new_matches[:4]) == 4
    with db.transaction() as tx:
        again = [replace(new, score=0.9, reason="another reason") for new in [*new_matches, *new_matches]]
        assert matches.store(tx, again) == 5
        assert matches.store(tx, again) == 0, "twice in one transaction"
        scores = tx.scalars(select(match.c.score).order_by(match.c.subscription_id, match.c.paper_id)).all()
    assert scores == [0.5] * 4 + [0.9] * 5


def test_a_failed_transaction_stores_no_match(db: Database, new_matches: list[NewMatch]) -> None:
    def interrupted() -> None:
        with db.transaction() as tx:
            matches.store(tx, new_matches)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        interrupted()
    with db.transaction() as tx:
        assert matches.store(tx, new_matches[:1]) == 1
        assert len(tx.execute(select(match)).all()) == 1
