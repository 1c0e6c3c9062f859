"""The editor: the form of a new or stored subscription, with the papers that it brings beside it."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from services import plugins
from services.domain.digests.digest import MAX_PAPERS
from services.domain.query.parser import MAX_QUERY_CHARACTERS
from services.domain.subscriptions.draft import MAX_INTEREST_CHARACTERS
from services.errors import Busy, NotFound, PaperwireError, QueryError
from services.flow.commands import subscribe
from services.store.subscriptions import subscriptions
from services.web import editor_preview, subscription_form
from services.web.csrf_forms import Posted
from services.web.editor_preview import ShownPreview, View
from services.web.pages import feeds
from services.web.request_context import Id, RequestContext, SignedIn
from services.web.subscription_form import Fields

router = APIRouter(prefix="/subscriptions")
MAX_WAIT_SECONDS = 10.0
"""For the previews that run: what was typed should be saved."""
MAX_EXAMPLES_CHARACTERS = 2_000
Prefilled = Annotated[str, Query()]


@router.get("/new")
def new_page(
    request: SignedIn, query: Prefilled = "", interest: Prefilled = "", liked: Prefilled = "", disliked: Prefilled = ""
) -> Response:
    with request.app.db.transaction() as tx:
        choices = subscription_form.channel_choices(tx, request.account)
    fields = Fields(
        query=subscription_form.prefilled(query, MAX_QUERY_CHARACTERS),
        interest=subscription_form.prefilled(interest, MAX_INTEREST_CHARACTERS),
        liked=subscription_form.prefilled(liked, MAX_EXAMPLES_CHARACTERS),
        disliked=subscription_form.prefilled(disliked, MAX_EXAMPLES_CHARACTERS),
        channels=(choices[0].value,),
    )
    return page(request, fields)


@router.post("")
@router.post("/new")
def create(request: SignedIn, form: Posted) -> Response:
    fields = subscription_form.from_form(form)
    try:
        subscription_id = _save(request, fields)
    except NotFound:
        raise
    except PaperwireError as error:
        return page(request, fields, error=error)
    return request.redirect(f"/subscriptions/{subscription_id}", "created")


@router.post("/preview")
def preview(request: SignedIn, form: Posted) -> Response:
    """The papers of the form: a fragment for htmx, or the whole page without JavaScript."""
    fields, view, editing = subscription_form.from_form(form), editor_preview.view(form), form.id("editing")
    changed, view = editor_preview.act(request.app, fields, view, form.text("do"))
    shown = editor_preview.run(request, changed, view, editing)
    if not request.is_htmx:
        return page(request, changed, editing, view=view, preview=shown)
    swapped = changed is not fields
    form_context = _form_context(request, changed, shown.failure) if swapped else {"fields": changed}
    return request.render(
        "editor/answer.html",
        shown.status,
        preview=shown,
        view=view,
        swapped=swapped,
        swapped_scores=False,
        told="",
        editing=editing,
        earlier=_earlier(shown),
        **form_context,
    )


@router.post("/try")
def try_out(request: SignedIn, form: Posted) -> Response:
    """Mails the papers of the form to the account's own address, as a test message."""
    fields, view, editing = subscription_form.from_form(form), editor_preview.view(form), form.id("editing")
    shown = editor_preview.run(request, fields, replace(view, tab="all", shown=MAX_PAPERS), editing)
    try:
        told, status = editor_preview.send_trial(request, shown), shown.status
    except PaperwireError as error:
        told, status = f"Nothing was sent: {error}.", _status(error)
    if request.is_htmx:
        # htmx shows no other error than 429.
        return request.render("editor/tried.html", 429 if status == 429 else 200, told=told)
    return page(request, fields, editing, view=view, preview=replace(shown, status=status), told=told)


@router.get("/{subscription_id}")
def edit_page(request: SignedIn, subscription_id: Id) -> Response:
    with request.app.db.transaction() as tx:
        row = subscriptions.find(tx, subscription_id, request.account_id)
        fields = subscription_form.from_subscription(tx, row)
    just_saved = "flash" in request.http.query_params
    shown = editor_preview.run(request, fields, View(), subscription_id) if just_saved else None
    if shown is not None and isinstance(shown.failure, Busy):
        shown = None  # htmx asks for the preview once the page is there.
    return page(request, fields, subscription_id, preview=shown)


@router.post("/{subscription_id}")
def change(request: SignedIn, form: Posted, subscription_id: Id) -> Response:
    fields = subscription_form.from_form(form)
    try:
        _save(request, fields, subscription_id)
    except NotFound:
        raise
    except PaperwireError as error:
        return page(request, fields, subscription_id, error=error)
    return request.redirect(f"/subscriptions/{subscription_id}", "saved")


def page(
    request: RequestContext,
    fields: Fields,
    editing: int | None = None,
    *,
    error: PaperwireError | None = None,
    view: View | None = None,
    preview: ShownPreview | None = None,
    told: str = "",
) -> Response:
    """The editor with the form as it was typed, what is wrong with it, and its preview."""
    row, feed = None, ""
    if editing:
        with request.app.db.transaction() as tx:
            row = subscriptions.find(tx, editing, request.account_id)
        feed = feeds.address(request.app, row)
    failure = error or (preview.failure if preview else None)
    status = _status(error) if error else preview.status if preview else 200
    return request.render(
        "editor/page.html",
        status,
        subscription=row,
        editing=editing,
        feed=feed,
        view=view or View(),
        preview=preview or ShownPreview(),
        load_preview=preview is None and error is None and not fields.asks_nothing,
        told=told,
        swapped=False,
        swapped_summary=False,
        swapped_scores=False,
        earlier=_earlier(preview),
        **_form_context(request, fields, failure),
    )


def _form_context(request: RequestContext, fields: Fields, error: PaperwireError | None) -> dict[str, Any]:
    """The variables of the form's fields."""
    with request.app.db.transaction() as tx:
        choices = subscription_form.channel_choices(tx, request.account)
        daily_at, weekly_on = subscription_form.digest_hours(tx, request.account)
    return {
        "fields": fields,
        "choices": choices,
        "cadences": (
            ("daily", f"each day at {daily_at}"),
            ("weekly", f"each {weekly_on} at {daily_at}"),
            ("immediate", "at once"),
        ),
        "error": error,
        "error_field": subscription_form.field_of(error),
        "caret": error.caret() if isinstance(error, QueryError) else "",
        "kinds": [(kind, source.summary) for kind, source in plugins.sources().items() if source.every is not None],
    }


def _earlier(shown: ShownPreview | None) -> str:
    """The papers of the archive before the window, in words."""
    return editor_preview.paper_count(*shown.result.earlier) if shown and shown.result else ""


def _save(request: RequestContext, fields: Fields, subscription_id: int | None = None) -> int:
    app, account_id = request.app, request.account_id
    with app.db.transaction() as tx:
        draft = subscription_form.draft(tx, fields)
    ids = subscription_form.channel_ids(app, request.account, fields)
    with app.previews.taken(account_id, MAX_WAIT_SECONDS), editor_preview.in_time():
        return subscribe.save(app.slow_db, app.embedder, account_id, draft, ids, subscription_id)


def _status(error: PaperwireError) -> int:
    return 429 if isinstance(error, Busy) else 422
