"""The papers matched lately, by the day of the match."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from fastapi.responses import Response
from sqlalchemy import Connection

from services.domain.papers.paper import Paper
from services.store.maintenance import dashboard
from services.store.papers import papers
from services.store.subscriptions import subscriptions
from services.web.request_context import SignedIn

router = APIRouter()
PAGE_SIZE = 30
"""Papers."""
Cursor = Annotated[int | None, Query(ge=1, lt=2**63)]


@dataclass(frozen=True, slots=True)
class MatchedEntry:
    paper: Paper
    matched_at: datetime
    reasons: list[dashboard.MatchReason]


@router.get("/matches")
def matches(request: SignedIn, before: Cursor = None, subscription: Cursor = None) -> Response:
    with request.app.db.transaction() as tx:
        own_subscriptions = subscriptions.all_of(tx, request.account_id)
        one = subscriptions.find(tx, subscription, request.account_id) if subscription else None
        matched = dashboard.matched_papers(
            tx, request.account_id, before=before, subscription_id=subscription, limit=PAGE_SIZE + 1
        )
        entries = _entries(tx, request.account_id, matched[:PAGE_SIZE])
    zone = ZoneInfo(request.account.timezone)
    days = [
        (_day_name(day, zone), list(group)) for day, group in groupby(entries, lambda entry: _local_day(entry, zone))
    ]
    older = matched[PAGE_SIZE - 1].newest_match if len(matched) > PAGE_SIZE else None
    return request.render(
        "matches.html", days=days, older=older, before=before, subscription=one, subscriptions=own_subscriptions
    )


def _entries(tx: Connection, account_id: int, matched: Sequence[dashboard.MatchedPaper]) -> list[MatchedEntry]:
    ids = [match.paper_id for match in matched]
    loaded, reasons = papers.load(tx, ids), dashboard.reasons(tx, account_id, ids)
    return [
        MatchedEntry(loaded[match.paper_id], match.matched_at, reasons[match.paper_id])
        for match in matched
        if match.paper_id in loaded
    ]


def _local_day(entry: MatchedEntry, zone: ZoneInfo) -> date:
    return entry.matched_at.astimezone(zone).date()


def _day_name(day: date, zone: ZoneInfo) -> str:
    today = datetime.now(UTC).astimezone(zone).date()
    name = {today: "Today", today - timedelta(days=1): "Yesterday"}.get(day, f"{day:%A}")
    year = "" if day.year == today.year else f" {day.year}"
    return f"{name}, {day.day} {day:%B}{year}"
