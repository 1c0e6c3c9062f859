"""The start page and the list of all papers that came: what is new, what was read, what is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Annotated, Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from sqlalchemy import Connection

from services.domain.delivery.account_health import health_line
from services.domain.digests.digest import DigestPaper
from services.errors import PaperwireError
from services.flow.commands import subscribe
from services.store.digests import content
from services.store.maintenance import account_status
from services.store.subscriptions import feedback, reading_list, subscriptions
from services.store.subscriptions.reading_list import ListFilter
from services.store.subscriptions.records import ListedDay, ListedPaper
from services.web import formatting
from services.web.csrf_forms import Posted
from services.web.pages import first_run
from services.web.request_context import Operator, RequestContext, SignedIn, date_in

router = APIRouter()
PAGE_SIZE = 30
DAY_CHIPS = 7
"""Days that the filter offers; a link shows the others."""
Cursor = Annotated[int | None, Query(ge=1, lt=2**63)]


@dataclass(frozen=True, slots=True)
class ListQuery:
    """The filters of the list as they stand in the address."""

    subscription: Cursor = None
    day: date | None = None
    starred: bool = False
    page: Annotated[int, Query(ge=1, le=10_000)] = 1

    def filter(self, account_id: int) -> ListFilter:
        return ListFilter(account_id=account_id, subscription_id=self.subscription, day=self.day, starred=self.starred)

    def address(self, path: str, **changes: object) -> str:
        """The address of the list with other filters, on its first page."""
        values: dict[str, object] = {
            "subscription": self.subscription,
            "day": self.day,
            "starred": 1 if self.starred else None,
        }
        given = {name: value for name, value in (values | changes).items() if value}
        return f"{path}?{urlencode(given)}" if given else path


@dataclass(frozen=True, slots=True)
class ListRow:
    """A paper in the list with what its reader said about it. `verdicts` by subscription."""

    item: DigestPaper
    read: bool
    starred: bool
    verdicts: dict[int, str]


@router.get("/")
def today(request: SignedIn, query: Annotated[ListQuery, Depends()]) -> Response:
    return _page(request, query)


@router.post("/watch")
def watch(request: Operator, form: Posted) -> Response:
    """Adds the sources that were ticked in the first step."""
    try:
        first_run.watch(request, form)
    except PaperwireError as error:
        return _page(request, ListQuery(page=1), error)
    return request.redirect("/", "watched")


@router.post("/away")
def away(request: SignedIn, form: Posted) -> Response:
    """Pauses all subscriptions of the account until a day."""
    try:
        subscribe.pause_all(request.app.db, request.account_id, form.text("until"))
    except PaperwireError as error:
        return _page(request, ListQuery(page=1), error)
    return request.redirect("/", "paused")


@router.post("/away/end")
def back(request: SignedIn, form: Posted) -> Response:
    subscribe.resume_all(request.app.db, request.account_id)
    return request.redirect("/", "resumed")


def _page(request: RequestContext, query: ListQuery, error: PaperwireError | None = None) -> Response:
    """The start page. `error`: what is wrong with the form that was sent."""
    with request.app.db.transaction() as tx:
        context = _list(tx, request, query, "/")
        state = account_status.health(tx, request.account_id, request.app.db.now(tx), operator=request.account.operator)
        context["steps"] = first_run.steps(tx, request)
        context["planned"] = account_status.planned_digests(tx, request.account_id)
    zone, now = ZoneInfo(request.account.timezone), datetime.now(UTC)
    context["health"] = health_line(state, lambda moment: formatting.local(moment, zone, now))
    context |= {"categories": first_run.CATEGORIES, "away_until": date_in(7), "error": error}
    return request.render("today.html", 422 if error else 200, **context)


@router.get("/matches")
def all_papers(request: SignedIn, query: Annotated[ListQuery, Depends()]) -> Response:
    """The same list without what comes next; links in messages and feeds lead here."""
    with request.app.db.transaction() as tx:
        context = _list(tx, request, query, "/matches")
    return request.render("today.html", **context, health=None, steps=None, planned=[], error=None)


def row_of(tx: Connection, request: RequestContext, paper_id: int) -> tuple[ListRow, int] | None:
    """The row of one paper after a change, and the number of unread papers of the whole list."""
    wanted = ListFilter(account_id=request.account_id, paper_id=paper_id)
    listed = reading_list.papers(tx, wanted, 1)
    starred = ListFilter(account_id=request.account_id, paper_id=paper_id, starred=True)
    rows = _rows(tx, request.account_id, listed or reading_list.papers(tx, starred, 1))
    days = reading_list.days(tx, ListFilter(account_id=request.account_id))
    return (rows[0], _unread(days)) if rows else None


def _list(tx: Connection, request: RequestContext, query: ListQuery, path: str) -> dict[str, Any]:
    account_id, zone = request.account_id, ZoneInfo(request.account.timezone)
    listed = subscriptions.list_all(tx, account_id)
    selected = subscriptions.find(tx, query.subscription, account_id) if query.subscription else None
    wanted = query.filter(account_id)
    found = reading_list.papers(tx, wanted, PAGE_SIZE + 1, (query.page - 1) * PAGE_SIZE)
    rows = _rows(tx, account_id, found[:PAGE_SIZE])
    of_every_day = reading_list.days(tx, ListFilter(account_id=account_id, subscription_id=query.subscription))
    today = datetime.now(UTC).astimezone(zone).date()
    by_day = groupby(rows, lambda row: row.item.paper.announced_on)
    return {
        "query": query,
        "path": path,
        "days": [(day_name(day, today), list(group)) for day, group in by_day],
        "day_chips": [(day_name(one.announced_on, today), one) for one in of_every_day[:DAY_CHIPS]],
        "unread": _unread(of_every_day),
        "subscription": selected,
        "subscriptions": listed,
        "older": query.address(path, page=query.page + 1) if len(found) > PAGE_SIZE else "",
        "back": query.address(path, page=query.page if query.page > 1 else None),
        "listed_at": request.app.db.now(tx).isoformat(),
    }


def _rows(tx: Connection, account_id: int, listed: Sequence[ListedPaper]) -> list[ListRow]:
    ids = [one.paper_id for one in listed]
    items = content.with_reasons_of(tx, account_id, ids)
    verdicts = feedback.verdicts(tx, account_id, ids)
    return [
        ListRow(
            items[one.paper_id],
            one.read,
            one.starred,
            {reason.subscription: verdicts.get((reason.subscription, one.paper_id), "") for reason in reasons},
        )
        for one in listed
        if one.paper_id in items
        for reasons in [items[one.paper_id].reasons]
    ]


def _unread(days: Sequence[ListedDay]) -> int:
    return sum(day.unread for day in days)


def day_name(day: date, today: date) -> str:
    """`Today, 4 May`, `Yesterday, 3 May`, `Monday, 27 April`; with the year if it is not the current one."""
    name = {today: "Today", today - timedelta(days=1): "Yesterday"}.get(day, f"{day:%A}")
    year = "" if day.year == today.year else f" {day.year}"
    return f"{name}, {day.day} {day:%B}{year}"
