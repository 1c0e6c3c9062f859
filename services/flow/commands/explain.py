"""`paperwire why`: what happened to one paper on its way to one subscription, also why it was not sent."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from sqlalchemy import Connection

from services.domain.http.ssrf import without_secrets
from services.domain.interests.embedder_status import describe_failure
from services.domain.papers import display_text
from services.domain.papers.paper import Paper
from services.domain.sources import names
from services.domain.subscriptions.criteria import compile_subscription
from services.domain.subscriptions.matcher import explain_non_match
from services.errors import QueryError
from services.ports import Embedder
from services.store.db.database import Database
from services.store.delivery import items
from services.store.delivery.records import ItemOutcome
from services.store.interests import embedder_health
from services.store.papers import appearances, papers
from services.store.subscriptions import candidates, matches, quarantine, subscriptions
from services.store.subscriptions.records import QuarantinedPaper, QuarantinedStage, Subscription

NOT_ALERTED = "listed without alerting (the first poll of a source, or an import with --silent)"
Step = tuple[str, str]
"""A stage's name, and in one line what happened there."""


When = Callable[[datetime], str]


def in_utc(moment: datetime) -> str:
    """`2026-05-04 06:00 UTC`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def explain(
    db: Database,
    embedder: Embedder,
    paper_name: str,
    subscription_id: int,
    account_id: int | None = None,
    when: When = in_utc,
) -> list[Step]:
    """What happened to the paper, stage by stage; `when` says a moment in words. Raises NotFound."""
    with db.transaction() as tx:
        subscription = subscriptions.find(tx, subscription_id, account_id)
        paper = next(iter(papers.load(tx, [papers.find(tx, paper_name)]).values()))
        return [*_paper_steps(paper, paper_name), *_steps(tx, embedder, paper, subscription, when)]


def _paper_steps(paper: Paper, paper_name: str) -> Iterator[Step]:
    version = f", version {paper.version}" if paper.version > 1 else ""
    yield "paper", f"{paper.id}: {display_text.title(paper)}{version}" + (" (withdrawn)" if paper.withdrawn else "")
    number = paper_name.strip().removeprefix("id:")
    if number.isdigit() and int(number) != paper.id:
        yield "merged", f"paper {number} turned out to be this one"


def _steps(tx: Connection, embedder: Embedder, paper: Paper, subscription: Subscription, when: When) -> Iterator[Step]:
    saved = f"{subscription.cadence}, saved {when(subscription.created_at)}"
    yield "subscription", f"{subscription.id}: {subscription.name}, {saved}"
    for appearance in appearances.of_paper(tx, paper.id):
        where = names.describe(appearance.kind, without_secrets(appearance.location))
        day = f"{appearance.announced_on.day} {appearance.announced_on:%b %Y}"
        read = f"in {where} for {day}, read {when(appearance.first_seen_at)}"
        yield ("known", f"{read}, {NOT_ALERTED}") if appearance.silent else ("announced", read)
    quarantined = [entry for entry in quarantine.list_all(tx, paper.id) if _is_affected(subscription, entry)]
    for entry in quarantined:
        what = f"from {entry.stage} {when(entry.at)}, {entry.error}"
        yield "quarantined", f"{what}; an operator can release it: paperwire quarantine release {paper.id}"
    match = matches.find(tx, subscription.id, paper.id)
    if match is None:
        if not any(entry.stage is QuarantinedStage.MATCHING for entry in quarantined):
            yield "not matched", _why_not_matched(tx, embedder, paper, subscription)
        return
    yield "matched", f"{when(match.created_at)}: {match.reason}"
    if match.notified_at is None:
        yield "notification", "waits until all of its announcement is matched, at most two minutes"
        return
    yield from _delivery_steps(tx, paper, subscription, when)


def _is_affected(subscription: Subscription, entry: QuarantinedPaper) -> bool:
    """A paper is not matched in one shard, or has no vector, which only interests need."""
    if entry.stage is QuarantinedStage.MATCHING:
        return entry.shard == subscription.shard
    return bool(subscription.volume)


def _why_not_matched(tx: Connection, embedder: Embedder, paper: Paper, subscription: Subscription) -> str:
    try:
        compiled = compile_subscription(subscription)
    except QueryError as error:
        return f"the query does not compile: {error}"
    if compiled is None:
        return subscription.error or "the interest waits for the embedder"
    candidate = candidates.load(tx, [paper.id], subscription.model)[0]
    reason = explain_non_match(compiled, candidate)
    if reason:
        needs_vector = candidate.vector is None and compiled.weights is not None
        failure = embedder_health.failure(tx, subscription.model) if needs_vector else None
        return f"{reason}. {describe_failure(failure.reason)}" if failure else reason
    if not appearances.was_announced(tx, paper.id):
        return f"it would match, but the paper was only {NOT_ALERTED}"
    if paper.first_seen_at < subscription.created_at:
        return "it would match, but the paper was announced before the subscription was saved"
    return "it would match now; its run is not matched yet, or the subscription was changed since"


def _delivery_steps(tx: Connection, paper: Paper, subscription: Subscription, when: When) -> Iterator[Step]:
    channels = subscriptions.channels_of(tx, [subscription.id]).get(subscription.id, [])
    if not channels:
        yield "notification", "the subscription has no channel"
    outcomes = items.outcomes(tx, [channel.id for channel in channels], paper.id)
    if channels and not outcomes:
        why = "the paper was withdrawn" if paper.withdrawn else "the channel was added after the match"
        yield "notification", f"nothing to send: {why}"
    for item in outcomes:
        if item.dropped_because:
            yield "dropped", f"{item.label}: {item.dropped_because}"
        elif item.delivery_id is None:
            yield "waits", f"{item.label}: for {when(item.not_before)} ({item.cadence})"
        else:
            yield "delivery", f"{item.label}: {_delivery(item, when)}"


def _delivery(item: ItemOutcome, when: When) -> str:
    line = f"{item.kind} {item.delivery_id} {item.state}"
    if item.sent_at:
        line += f" {when(item.sent_at)}"
    details = [item.error, item.receipt]
    return line + "".join(f", {detail}" for detail in details if detail)
