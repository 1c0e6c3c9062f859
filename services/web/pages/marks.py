"""Marks of papers in the list: read or unread, kept or not."""

import json
from datetime import date, datetime

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from services.errors import NotFound
from services.store.papers import marks, papers
from services.store.subscriptions import reading_list, subscriptions
from services.store.subscriptions.reading_list import ListFilter
from services.web.auth import safe_next
from services.web.csrf_forms import Form, Posted
from services.web.pages.today import row_of
from services.web.request_context import RequestContext, SignedIn

router = APIRouter(prefix="/marks")
CHANGES = {
    "read": (marks.set_read, True),
    "unread": (marks.set_read, False),
    "star": (marks.set_starred, True),
    "unstar": (marks.set_starred, False),
}


@router.post("")
def mark(request: SignedIn, form: Posted) -> Response:
    """Marks one paper. Answers htmx with the new row, a form without JavaScript with the page that it came from."""
    paper_id = form.id("paper")
    if paper_id is None or form.text("mark") not in CHANGES:
        raise HTTPException(422, f"A mark needs a paper, and is one of: {', '.join(CHANGES)}.")
    change, is_set = CHANGES[form.text("mark")]
    now = request.app.db.now()
    with request.app.db.transaction() as tx:
        if not change(tx, request.account_id, [paper_id], now if is_set else None):
            raise NotFound(f"no paper {paper_id} in the archive")
    return _row(request, form, paper_id) if request.is_htmx else _back(request, form)


@router.post("/all")
def mark_all(request: SignedIn, form: Posted) -> Response:
    """Marks the papers of the list as read, but not those that matched after the page was shown."""
    with request.app.db.transaction() as tx:
        wanted = _filter(request, form)
        if wanted.subscription_id is not None:
            subscriptions.find(tx, wanted.subscription_id, request.account_id)
        marks.set_read(tx, request.account_id, reading_list.unread_ids(tx, wanted), request.app.db.now(tx))
    return _back(request, form)


def _filter(request: RequestContext, form: Form) -> ListFilter:
    try:
        day = date.fromisoformat(form.text("day")) if form.text("day") else None
        shown_at = datetime.fromisoformat(form.text("listed_at"))
    except ValueError as error:
        raise HTTPException(422, "This form could not be read. Reload the page and try again.") from error
    if shown_at.tzinfo is None:
        raise HTTPException(422, "This form could not be read. Reload the page and try again.")
    return ListFilter(
        account_id=request.account_id,
        subscription_id=form.id("subscription"),
        day=day,
        starred=bool(form.text("starred")),
        matched_before=shown_at,
    )


def _row(request: RequestContext, form: Form, paper_id: int) -> Response:
    with request.app.db.transaction() as tx:
        current = papers.load(tx, [paper_id]).get(paper_id)
        found = row_of(tx, request, current.id) if current else None
    if found is None:
        return Response()
    row, unread = found
    response = request.render("today_row.html", row=row, back=form.text("back", "/"))
    response.headers["HX-Trigger"] = json.dumps({"unread": unread})
    return response


def _back(request: RequestContext, form: Form) -> Response:
    return request.redirect(safe_next(form.text("back", "/")))
