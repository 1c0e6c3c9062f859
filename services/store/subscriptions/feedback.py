"""Votes of people: a subscription shall bring more or less like a paper."""

from collections.abc import Collection
from enum import StrEnum

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert as upsert

from services.store.db.database import any_id
from services.store.db.tables import feedback, interest_example, subscription


class Verdict(StrEnum):
    MORE = "more"
    LESS = "less"


def set_verdict(tx: Connection, subscription_id: int, paper_id: int, verdict: Verdict | None) -> None:
    """Stores a vote in place of an earlier one; None takes the vote back."""
    if verdict is None:
        of_paper = (feedback.c.subscription_id == subscription_id, feedback.c.paper_id == paper_id)
        tx.execute(delete(feedback).where(*of_paper))
        return
    new = upsert(feedback).values(subscription_id=subscription_id, paper_id=paper_id, verdict=verdict)
    key = (feedback.c.subscription_id, feedback.c.paper_id)
    tx.execute(new.on_conflict_do_update(index_elements=key, set_={"verdict": verdict, "created_at": func.now()}))


def set_example(tx: Connection, subscription_id: int, paper_id: int, liked: bool | None) -> None:
    """Makes the paper a liked or a disliked example of the interest; None makes it no example."""
    if liked is None:
        of_paper = (interest_example.c.subscription_id == subscription_id, interest_example.c.paper_id == paper_id)
        tx.execute(delete(interest_example).where(*of_paper))
        return
    new = upsert(interest_example).values(subscription_id=subscription_id, paper_id=paper_id, liked=liked)
    key = (interest_example.c.subscription_id, interest_example.c.paper_id)
    tx.execute(new.on_conflict_do_update(index_elements=key, set_={"liked": liked}))


def verdicts(tx: Connection, account_id: int, paper_ids: Collection[int]) -> dict[tuple[int, int], str]:
    """The votes of an account's subscriptions by (subscription, paper), of the papers that have any."""
    query = (
        select(feedback.c.subscription_id, feedback.c.paper_id, feedback.c.verdict)
        .join(subscription, subscription.c.id == feedback.c.subscription_id)
        .where(
            subscription.c.account_id == account_id,
            subscription.c.deleted_at.is_(None),
            feedback.c.paper_id == any_id(paper_ids),
        )
    )
    return {(row.subscription_id, row.paper_id): row.verdict for row in tx.execute(query)}
