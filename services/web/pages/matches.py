"""The page of recent matches, grouped by day."""

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
from services.store.subscriptions.records import MatchedPaper, MatchReason
from services.web.request_context import SignedIn

router = APIRouter()
PAGE_SIZE = 30
Cursor = Annotated[int | None, Query(ge=1, lt=2**63)]


@dataclass(frozen=True, slots=True)
class PaperWithReasons:
    paper: Paper
    matched_at: datetime
    reasons: list[MatchReason]


@router.get("/matches")
def matches(request: SignedIn, before: Cursor = None, subscription: Cursor = None) -> Response:
    account_id, zone = request.account_id, ZoneInfo(request.account.timezone)
    with request.app.db.transaction() as tx:
        listed = subscriptions.list_all(tx, account_id)
        selected = subscriptions.find(tx, subscription, account_id) if subscription else None
        rows = dashboard.matched_papers(
            tx, account_id, before=before, subscription_id=subscription, limit=PAGE_SIZE + 1
        )
        matched = _with_reasons(tx, account_id, rows[:PAGE_SIZE])
    by_day = groupby(matched, lambda match: match.matched_at.astimezone(zone).date())
    return request.render(
        "matches.html",
        days=[(_day_name(day, zone), list(group)) for day, group in by_day],
        older=rows[PAGE_SIZE - 1].newest_match_id if len(rows) > PAGE_SIZE else None,
        before=before,
        subscription=selected,
        subscriptions=listed,
    )


def _with_reasons(tx: Connection, account_id: int, rows: Sequence[MatchedPaper]) -> list[PaperWithReasons]:
    ids = [row.paper_id for row in rows]
    loaded, reasons = papers.load(tx, ids), dashboard.reasons(tx, account_id, ids)
    return [
        PaperWithReasons(loaded[row.paper_id], row.matched_at, reasons[row.paper_id])
        for row in rows
        if row.paper_id in loaded
    ]


def _day_name(day: date, zone: ZoneInfo) -> str:
    today = datetime.now(UTC).astimezone(zone).date()
    name = {today: "Today", today - timedelta(days=1): "Yesterday"}.get(day, f"{day:%A}")
    year = "" if day.year == today.year else f" {day.year}"
    return f"{name}, {day.day} {day:%B}{year}"
