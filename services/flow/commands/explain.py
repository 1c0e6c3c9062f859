"""Trace: the whole story of one paper and one subscription, also why not."""

from collections.abc import Iterator

from sqlalchemy import Connection

from services.domain.http.ssrf import without_secrets
from services.domain.interests.embedder_status import describe_failure
from services.domain.papers.paper import Paper
from services.domain.subscriptions.matcher import explain_non_match
from services.errors import QueryError
from services.ports import Embedder
from services.store.db.database import Database, Row
from services.store.delivery import items
from services.store.delivery.records import ItemOutcome
from services.store.interests import embedder_health
from services.store.papers import appearances, papers
from services.store.subscriptions import candidates, matches, quarantine, subscriptions

Step = tuple[str, str]
"""A stage's name and what happened there, one line."""


def trace(
    db: Database, embedder: Embedder, paper_name: str, subscription_id: int, account_id: int | None = None
) -> list[Step]:
    """What happened to a paper on its way to a subscription, stage by stage. Raises NotFound."""
    with db.transaction() as tx:
        row = subscriptions.find(tx, subscription_id, account_id)
        found = papers.load(tx, [papers.find(tx, paper_name)])
        paper = next(iter(found.values()))
        return [*_names(paper, paper_name), *_steps(tx, embedder, paper, row)]


def _names(paper: Paper, asked_as: str) -> Iterator[Step]:
    version = f", version {paper.version}" if paper.version > 1 else ""
    yield "paper", f"{paper.id}: {paper.title}{version}" + (" (withdrawn)" if paper.withdrawn else "")
    number = asked_as.strip().removeprefix("id:")
    if number.isdigit() and int(number) != paper.id:
        yield "merged", f"paper {number} turned out to be this one"


def _steps(tx: Connection, embedder: Embedder, paper: Paper, row: Row) -> Iterator[Step]:
    yield "subscription", f"{row['id']}: {row['name']}, {row['cadence']}, saved {row['created_at']:%Y-%m-%d %H:%M}"
    for place in appearances.of_paper(tx, paper.id):
        silently = ", silently" if place.silent else ""
        where = f"{place.kind} {without_secrets(place.location)}".strip()
        yield (
            "announced",
            f"in {where} for {place.announced_on}, read {place.first_seen_at:%Y-%m-%d %H:%M}{silently}",
        )
    aside = [one for one in quarantine.all_of(tx, paper.id) if _concerns(one, row)]
    for one in aside:
        what = f"from {one['stage']} {one['at']:%Y-%m-%d %H:%M}, {one['error']}"
        yield "set aside", f"{what}; an operator can put it back: paperwire quarantine release {paper.id}"
    match = matches.one(tx, row["id"], paper.id)
    if match is None:
        if not any(one["stage"] == quarantine.MATCHING for one in aside):
            yield "not matched", _why_not(tx, embedder, paper, row)
        return
    yield "matched", f"{match['created_at']:%Y-%m-%d %H:%M}: {match['decided'].get('why', '')}"
    if match["notified_at"] is None:
        yield "notification", "waits until all of its announcement is matched, at most two minutes"
        return
    yield from _deliveries(tx, paper, row)


def _concerns(aside: Row, row: Row) -> bool:
    """Matching is a shard's; without a vector only interests miss the paper."""
    return aside["shard"] == row["shard"] if aside["stage"] == quarantine.MATCHING else bool(row["volume"])


def _why_not(tx: Connection, embedder: Embedder, paper: Paper, row: Row) -> str:
    try:
        asked = candidates.compiled(row)
    except QueryError as error:
        return f"the query does not compile: {error}"
    if asked is None:
        return row["error"] or "the interest waits for the embedder"
    candidate = candidates.candidates(tx, [paper.id], row["model"])[0]
    reason = explain_non_match(asked, candidate)
    if reason:
        lacks_vector = candidate.vector is None and asked.weights is not None
        failure = embedder_health.failure(tx, row["model"]) if lacks_vector else None
        return f"{reason}. {describe_failure(failure.reason)}" if failure else reason
    if not appearances.was_announced(tx, paper.id):
        return "it would match, but the paper only came silently (a first poll or a silent import)"
    if paper.first_seen_at < row["created_at"]:
        return "it would match, but the paper was announced before the subscription was saved"
    return "it would match now; its run is not matched yet, or the subscription was changed since"


def _deliveries(tx: Connection, paper: Paper, row: Row) -> Iterator[Step]:
    channels = subscriptions.channels_of(tx, [row["id"]]).get(row["id"], [])
    if not channels:
        yield "notification", "the subscription has no channel"
    outcomes = items.outcomes(tx, [channel for channel, _, _ in channels], paper.id)
    if channels and not outcomes:
        why = "the paper was withdrawn" if paper.withdrawn else "the channel was added after the match"
        yield "notification", f"nothing to tell: {why}"
    for item in outcomes:
        where = f"{item.label}: "
        if item.dropped_because:
            yield "dropped", where + item.dropped_because
        elif item.delivery_id is None:
            yield "waits", f"{where}for {item.not_before:%Y-%m-%d %H:%M} UTC ({item.cadence})"
        else:
            yield "delivery", where + _delivery(item)


def _delivery(item: ItemOutcome) -> str:
    line = f"{item.kind} {item.delivery_id} {item.state}"
    if item.sent_at:
        line += f" {item.sent_at:%Y-%m-%d %H:%M} UTC"
    details = [item.error, item.receipt]
    return line + "".join(f", {detail}" for detail in details if detail)
