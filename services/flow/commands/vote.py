"""Votes on papers: stored for a subscription, whose interest is learned again at once."""

from dataclasses import dataclass

from services.domain.subscriptions.draft import Draft
from services.errors import ConfigError, NotFound
from services.flow.commands import compile_interest
from services.ports import Embedder
from services.settings import settings
from services.store.db.database import Database
from services.store.interests import thresholds
from services.store.papers import merging
from services.store.subscriptions import feedback, subscriptions
from services.store.subscriptions.feedback import Verdict


@dataclass(frozen=True, slots=True)
class Vote:
    """A stored vote."""

    paper_id: int
    verdict: Verdict | None
    before: Draft
    """The subscription before the vote, and after it. Both are equal when it has only a query."""
    after: Draft


def vote(
    db: Database, embedder: Embedder, account_id: int, subscription_id: int, paper_id: int, verdict: Verdict | None
) -> Vote:
    """Votes for a subscription on a paper; None takes the vote back.

    A vote makes the paper an example of the subscription's interest, which is learned again. For a subscription
    without an interest the vote is only stored. Raises NotFound, ConfigError.
    """
    with db.transaction() as tx:
        merging.lock_against_merges(tx)
        current = merging.current_ids(tx, [paper_id]).get(paper_id)
        if current is None:
            raise NotFound(f"no paper {paper_id} in the archive")
        row = subscriptions.find(tx, subscription_id, account_id)
        before = after = subscriptions.draft_of(tx, row)
        feedback.set_verdict(tx, subscription_id, current, verdict)
        if before.has_interest:
            feedback.set_example(tx, subscription_id, current, None if verdict is None else verdict is Verdict.MORE)
            after = subscriptions.draft_of(tx, row)
            _check_examples(after)
    if after != before:
        learn_again(db, embedder, subscription_id, account_id)
    return Vote(current, verdict, before, after)


def learn_again(db: Database, embedder: Embedder, subscription_id: int, account_id: int) -> None:
    """Compiles the interest with its present examples.

    When the embedder fails, the interest stays as it was until the next calibration compiles it.
    """
    with db.transaction() as tx:
        row = subscriptions.find(tx, subscription_id, account_id)
        draft = subscriptions.draft_of(tx, row)
    compiled = compile_interest.compile(db, embedder, draft)
    with db.transaction() as tx:
        if compiled.failed is not None:
            thresholds.compile_at_next_calibration(tx, subscription_id)
            return
        thresholds.set_threshold(tx, row.id, row.shard, row.revision, compiled)


def _check_examples(draft: Draft) -> None:
    """Raises ConfigError, which ends the transaction of the vote."""
    if not draft.has_interest:
        raise ConfigError("this is the only example of the interest; describe the interest in words first")
    most = settings().max_examples
    if len(draft.liked) + len(draft.disliked) > most:
        raise ConfigError(f"a subscription takes {most} papers as examples; take a vote back first")
