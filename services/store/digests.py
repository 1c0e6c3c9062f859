"""What a digest is composed of: the papers of a delivery with every living reason, and what was read for them."""

from collections.abc import Sequence
from functools import lru_cache

from sqlalchemy import Connection

from services.domain.digest import Reason, ledger_line
from services.domain.paper import Paper
from services.domain.query import Query, parse
from services.errors import QueryError
from services.store import deliveries, ledger, papers
from services.store.database import Row


def found(tx: Connection, channel_id: int, paper_ids: Sequence[int]) -> dict[int, tuple[Paper, list[Reason]]]:
    """The papers of these ids, each with its reasons on the channel, perhaps with none any more."""
    loaded = papers.load(tx, paper_ids)
    reasons: dict[int, list[Reason]] = {one: [] for one in paper_ids}
    for match in deliveries.reasons(tx, channel_id, paper_ids):
        reasons[match["paper_id"]].append(_reason(match))
    return {one: (loaded[one], reasons[one]) for one in paper_ids}


def read_for(tx: Connection, paper_ids: Sequence[int]) -> list[str]:
    """The ledger's lines for the foot; a source that is an address says nothing to a reader."""
    return [
        ledger_line(one["location"] or one["kind"], one["announced"], one["fetched"], one["mine"])
        for one in ledger.of_papers(tx, paper_ids)
        if "://" not in one["location"]
    ]


def _reason(match: Row) -> Reason:
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
    )


@lru_cache(4096)
def _compiled(query: str) -> Query | None:
    try:
        return parse(query) if query else None
    except QueryError:  # It compiled once: the paper still comes, without its words in bold.
        return None
