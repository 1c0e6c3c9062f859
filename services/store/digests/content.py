"""What a digest is composed of: the papers of a delivery with every living reason, and what was read for them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from sqlalchemy import Connection

from services.domain.delivery.merged_items import merged_with
from services.domain.digests.digest import Reason, ledger_line
from services.domain.papers.paper import Paper
from services.domain.query.parser import Query, parse
from services.domain.subscriptions import silence
from services.errors import QueryError
from services.store.db.database import Row
from services.store.delivery import deliveries
from services.store.interests import sentence_vectors
from services.store.papers import papers
from services.store.sources import batches
from services.store.subscriptions import silences


class Announcements(NamedTuple):
    """What is to be told of papers on channels, by (channel, paper)."""

    papers: Mapping[int, Paper]
    asking: Mapping[tuple[int, int], Sequence[Row]]
    """The matches that may be told."""
    muted: Mapping[tuple[int, int], str]
    """The silence that keeps others from it."""
    closest: Mapping[tuple[int, int], Sequence[float]]
    """How close each sentence is to an interest, by (subscription, paper), as far as it is known."""


def announcements_for(tx: Connection, wanted: Iterable[tuple[Row, int]], now: datetime) -> Announcements:
    """Reads what there is to say of these papers on these channels, few statements however many they are."""
    where = {(channel["id"], paper): channel for channel, paper in wanted}
    loaded = papers.load(tx, {paper for _, paper in where})
    asking = defaultdict[tuple[int, int], list[Row]](list)
    muted: dict[tuple[int, int], str] = {}
    said = deliveries.reasons(tx, where.keys())
    silenced = silences.active_by_account(
        tx, {channel["account_id"] for channel in where.values()} if said else (), now
    )
    for row in said:
        place = row["channel_id"], row["paper_id"]
        pair = row["subscription_id"], row["paper_id"]
        because = silence.silenced_reasons(silenced.get(where[place]["account_id"], ()), {pair}, loaded).get(pair)
        if because is None:
            asking[place].append(row)
        else:
            muted[place] = because
    scored = {(row["subscription_id"], row["paper_id"]) for row in said if row["score"] is not None}
    return Announcements(loaded, asking, muted, sentence_vectors.sentence_scores(tx, scored) if scored else {})


def found(heard: Announcements, channel_id: int, paper_ids: Sequence[int]) -> dict[int, tuple[Paper, list[Reason]]]:
    """The papers of these ids, each with its reasons on the channel, perhaps with none any more."""
    return {
        one: (heard.papers[one], [_reason(row, heard.closest) for row in heard.asking.get((channel_id, one), ())])
        for one in paper_ids
    }


def living_items(tx: Connection, heard: Announcements, items: Sequence[Row]) -> list[Row]:
    """The items whose papers are to be told; the others are dropped with the reason."""
    dropped = defaultdict[str, list[int]](list)
    for item in items:
        if reason := _why_not(item["paper_id"], item["channel_id"], heard):
            dropped[reason].append(item["id"])
    for reason, ids in dropped.items():
        deliveries.drop(tx, ids, reason)
    gone = {one for ids in dropped.values() for one in ids}
    return [item for item in items if item["id"] not in gone]


def _why_not(paper_id: int, channel_id: int, heard: Announcements) -> str:
    paper, place = heard.papers[paper_id], (channel_id, paper_id)
    if paper.id != paper_id:
        # Its paper was found to be one that has its own item here, while a worker had this one.
        return merged_with(paper.id)
    if paper.withdrawn:
        return "the paper was withdrawn"
    return "" if heard.asking.get(place) else heard.muted.get(place, "no subscription asks for it any more")


def read_for(tx: Connection, wanted: Mapping[int, Collection[int]]) -> dict[int, list[str]]:
    """For each key the ledger's lines on its papers, for the foot; a source that is an address says nothing there."""
    return {
        key: [
            ledger_line(one.location or one.kind, one.announced, one.fetched, one.papers)
            for one in found
            if "://" not in one.location
        ]
        for key, found in batches.of_papers(tx, wanted).items()
    }


def _reason(match: Row, closest: Mapping[tuple[int, int], Sequence[float]]) -> Reason:
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
        closeness=closest.get((match["subscription_id"], match["paper_id"]), ()),
    )


@lru_cache(4096)
def _compiled(query: str) -> Query | None:
    try:
        return parse(query) if query else None
    except QueryError:  # It compiled once: the paper still comes, without its words in bold.
        return None
