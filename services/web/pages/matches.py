"""What was found lately, by the day on which it was found."""

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
from services.store.db.database import Row
from services.store.maintenance import dashboard
from services.store.papers import papers
from services.store.subscriptions import subscriptions
from services.web.request_context import SignedIn

router = APIRouter()
PAGE = 30
Cursor = Annotated[int | None, Query(ge=1, lt=2**63)]


@dataclass(frozen=True, slots=True)
class Found:
    paper: Paper
    found_at: datetime
    reasons: list[Row]


@router.get("/matches")
def matches(request: SignedIn, before: Cursor = None, subscription: Cursor = None) -> Response:
    with request.app.db.transaction() as tx:
        mine = subscriptions.all_of(tx, request.account_id)
        one = subscriptions.find(tx, subscription, request.account_id) if subscription else None
        rows = dashboard.matched(tx, request.account_id, before=before, subscription_id=subscription, limit=PAGE + 1)
        found = _found(tx, request.account_id, rows[:PAGE])
    zone = ZoneInfo(request.account.timezone)
    days = [(_day_name(day, zone), list(group)) for day, group in groupby(found, lambda f: _local(f, zone))]
    older = rows[PAGE - 1]["newest"] if len(rows) > PAGE else None
    return request.render("matches.html", days=days, older=older, before=before, subscription=one, subscriptions=mine)


def _found(tx: Connection, account_id: int, rows: Sequence[Row]) -> list[Found]:
    ids = [row["paper_id"] for row in rows]
    loaded, reasons = papers.load(tx, ids), dashboard.reasons(tx, account_id, ids)
    return [
        Found(loaded[row["paper_id"]], row["found_at"], reasons[row["paper_id"]])
        for row in rows
        if row["paper_id"] in loaded
    ]


def _local(one: Found, zone: ZoneInfo) -> date:
    return one.found_at.astimezone(zone).date()


def _day_name(day: date, zone: ZoneInfo) -> str:
    today = datetime.now(UTC).astimezone(zone).date()
    name = {today: "Today", today - timedelta(days=1): "Yesterday"}.get(day, f"{day:%A}")
    year = "" if day.year == today.year else f" {day.year}"
    return f"{name}, {day.day} {day:%B}{year}"
