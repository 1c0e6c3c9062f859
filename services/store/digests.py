"""What a digest is composed of: the papers of a delivery with every living reason, and what was read for them."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from sqlalchemy import Connection

from services.domain.digest import Reason, ledger_line
from services.domain.paper import Paper
from services.domain.query import Query, parse
from services.errors import QueryError
from services.store import deliveries, ledger, merging, papers, sentences, silences
from services.store.database import Row


def found(
    tx: Connection, channel: Row, paper_ids: Sequence[int], now: datetime
) -> dict[int, tuple[Paper, list[Reason]]]:
    """The papers of these ids, each with its reasons on the channel, perhaps with none any more."""
    loaded = papers.load(tx, paper_ids)
    reasons: dict[int, list[Reason]] = {one: [] for one in paper_ids}
    heard = _heard(tx, channel, paper_ids, now)[0]
    told = sentences.told(tx, {(one["subscription_id"], one["paper_id"]) for one in heard if one["score"] is not None})
    for match in heard:
        closeness = told.get((match["subscription_id"], match["paper_id"]), ())
        reasons[match["paper_id"]].append(_reason(match, closeness))
    return {one: (loaded[one], reasons[one]) for one in paper_ids}


def living_items(tx: Connection, channel: Row, items: Sequence[Row], now: datetime) -> list[Row]:
    """The items whose papers are to be told; the others are dropped with the reason."""
    loaded = papers.load(tx, [item["paper_id"] for item in items])
    asking, muted = _heard(tx, channel, loaded.keys(), now)
    asked = {row["paper_id"] for row in asking}
    dropped = defaultdict[str, list[int]](list)
    for item in items:
        paper = loaded[item["paper_id"]]
        if reason := _why_not(item["paper_id"], paper, asked, muted):
            dropped[reason].append(item["id"])
    for reason, ids in dropped.items():
        deliveries.drop(tx, ids, reason)
    gone = {one for ids in dropped.values() for one in ids}
    return [item for item in items if item["id"] not in gone]


def _heard(tx: Connection, channel: Row, paper_ids: Collection[int], now: datetime) -> tuple[list[Row], dict[int, str]]:
    """The matches that may be told on the channel, and why others may not: paper → its silence."""
    asking = deliveries.reasons(tx, channel["id"], paper_ids)
    pairs = {(row["subscription_id"], row["paper_id"]) for row in asking}
    muted = silences.muted(tx, channel["account_id"], pairs, now)
    heard = [row for row in asking if (row["subscription_id"], row["paper_id"]) not in muted]
    return heard, {paper: because for (_, paper), because in muted.items()}


def _why_not(paper_id: int, paper: Paper, asked: set[int], muted: Mapping[int, str]) -> str:
    if paper.id != paper_id:
        # Its paper was found to be one that has its own item here, while a worker had this one.
        return merging.merged_with(paper.id)
    if paper.withdrawn:
        return "the paper was withdrawn"
    return "" if paper_id in asked else muted.get(paper_id, "no subscription asks for it any more")


def read_for(tx: Connection, paper_ids: Sequence[int]) -> list[str]:
    """The ledger's lines for the foot; a source that is an address says nothing to a reader."""
    return [
        ledger_line(one["location"] or one["kind"], one["announced"], one["fetched"], one["mine"])
        for one in ledger.of_papers(tx, paper_ids)
        if "://" not in one["location"]
    ]


def _reason(match: Row, closeness: Sequence[float]) -> Reason:
    return Reason(
        subscription=match["subscription_id"],
        name=match["name"],
        for_whom=match["for_whom"],
        why=match["decided"].get("why", ""),
        score=match["score"],
        threshold=match["threshold"],
        query=_compiled(match["query"]),
        interest=match["interest"],
        terms=match["terms"] if match["score"] is not None else {},
        closeness=closeness if match["score"] is not None else (),
    )


@lru_cache(4096)
def _compiled(query: str) -> Query | None:
    try:
        return parse(query) if query else None
    except QueryError:  # It compiled once: the paper still comes, without its words in bold.
        return None
