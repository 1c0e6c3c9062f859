"""The pages that list, add, change, pause and delete subscriptions."""

from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from services import plugins
from services.errors import Busy, ConfigError, NotFound, PaperwireError, QueryError
from services.flow.commands import subscribe
from services.flow.upkeep import model_rollover
from services.store.maintenance import dashboard
from services.store.subscriptions import subscriptions
from services.web import subscription_form
from services.web.csrf_forms import Posted
from services.web.pages import feeds
from services.web.request_context import Id, RequestContext, SignedIn, date_in
from services.web.subscription_form import Fields

router = APIRouter(prefix="/subscriptions")
COUNT_WINDOW = timedelta(days=30)
"""The page shows the number of matches within this time."""
MAX_PAUSE = timedelta(days=1000)
MAX_WAIT_SECONDS = 10.0
"""For the previews that run: what was typed should be saved."""


@router.get("")
def overview_page(request: SignedIn) -> Response:
    return listing(request)


@router.post("")
def create(request: SignedIn, form: Posted) -> Response:
    fields = subscription_form.from_form(form)
    try:
        _save(request, fields)
    except NotFound:
        raise
    except PaperwireError as error:
        return listing(request, fields, error, _status(error))
    return request.redirect("/subscriptions", "created")


@router.get("/{subscription_id}")
def edit_page(request: SignedIn, subscription_id: Id) -> Response:
    with request.app.db.transaction() as tx:
        row = subscriptions.find(tx, subscription_id, request.account_id)
        fields = subscription_form.from_subscription(tx, row)
    return editing(request, subscription_id, fields)


@router.post("/{subscription_id}")
def change(request: SignedIn, form: Posted, subscription_id: Id) -> Response:
    fields = subscription_form.from_form(form)
    try:
        _save(request, fields, subscription_id)
    except NotFound:
        raise
    except PaperwireError as error:
        return editing(request, subscription_id, fields, error, _status(error))
    return request.redirect("/subscriptions", "saved")


@router.post("/{subscription_id}/pause")
def pause(request: SignedIn, form: Posted, subscription_id: Id) -> Response:
    day = form.text("until")
    _check_pause_end(day, request.account.timezone)
    subscribe.pause(request.app.db, subscription_id, day, request.account_id)
    return request.redirect("/subscriptions", "paused")


@router.post("/{subscription_id}/resume")
def resume(request: SignedIn, form: Posted, subscription_id: Id) -> Response:
    subscribe.resume(request.app.db, subscription_id, request.account_id)
    return request.redirect("/subscriptions", "resumed")


@router.get("/{subscription_id}/delete")
def confirm_delete(request: SignedIn, subscription_id: Id) -> Response:
    with request.app.db.transaction() as tx:
        row = subscriptions.find(tx, subscription_id, request.account_id)
    return request.render(
        "confirm.html",
        question=f"Delete the subscription “{row.name}”?",
        consequence="Nothing more is matched for it, and its matches leave your pages. What was sent stays on record.",
        label="Delete",
        back="/subscriptions",
    )


@router.post("/{subscription_id}/delete")
def delete(request: SignedIn, form: Posted, subscription_id: Id) -> Response:
    with request.app.db.transaction() as tx:
        subscriptions.remove(tx, subscription_id, request.account_id)
    return request.redirect("/subscriptions", "deleted")


def listing(
    request: RequestContext,
    fields: Fields | None = None,
    error: PaperwireError | None = None,
    status: int = 200,
    preview: Any = None,
) -> Response:
    """All subscriptions, and the form for a new one.

    `fields` is the form as it was typed, `error` what is wrong with it, `preview` its preview.
    """
    with request.app.db.transaction() as tx:
        listed = subscriptions.list_all(tx, request.account_id)
        channels = subscriptions.channels_of(tx, [subscription.id for subscription in listed])
        counts = dashboard.match_counts(tx, request.account_id, datetime.now(UTC) - COUNT_WINDOW)
        choices = subscription_form.channel_choices(tx, request.account)
    has_interest = any(subscription.volume for subscription in listed)
    typed = fields or Fields(channels=(choices[0][0],))
    form = form_context(typed, choices, error, preview)
    return request.render(
        "subscriptions.html",
        status,
        subscriptions=listed,
        channels=channels,
        counts=counts,
        pause_until=date_in(7),
        embedder_status=model_rollover.status_lines(request.app.db, request.app.settings) if has_interest else [],
        **form,
    )


def editing(
    request: RequestContext,
    subscription_id: int,
    fields: Fields,
    error: PaperwireError | None = None,
    status: int = 200,
    preview: Any = None,
) -> Response:
    with request.app.db.transaction() as tx:
        row = subscriptions.find(tx, subscription_id, request.account_id)
        choices = subscription_form.channel_choices(tx, request.account)
    context = form_context(fields, choices, error, preview, subscription_id)
    feed = feeds.address(request.app, row)
    return request.render("subscription_edit.html", status, subscription=row, feed=feed, **context)


def form_context(
    fields: Fields,
    choices: list[tuple[str, str, str]],
    error: PaperwireError | None,
    preview: Any,
    editing: int | None = None,
) -> dict[str, Any]:
    """The variables of `subscription_form.html`."""
    caret = error.caret() if isinstance(error, QueryError) else ""
    kinds = [(kind, source.summary) for kind, source in plugins.sources().items() if source.every is not None]
    return {
        "fields": fields,
        "choices": choices,
        "error": error,
        "caret": caret,
        "preview": preview,
        "editing": editing,
        "kinds": kinds,
    }


def _save(request: RequestContext, fields: Fields, subscription_id: int | None = None) -> None:
    app, account_id = request.app, request.account_id
    with app.db.transaction() as tx:
        draft = subscription_form.draft(tx, fields)
    ids = subscription_form.channel_ids(app, request.account, fields)
    with app.previews.taken(account_id, MAX_WAIT_SECONDS):
        subscribe.save(app.slow_db, app.embedder, account_id, draft, ids, subscription_id)


def _status(error: PaperwireError) -> int:
    return 429 if isinstance(error, Busy) else 422


def _check_pause_end(day: str, timezone: str) -> None:
    """Raises ConfigError for a day that has begun or is far off, which is likely a typing error."""
    now = datetime.now(UTC)
    if day and not now < subscribe.start_of(day, timezone) < now + MAX_PAUSE:
        raise ConfigError("a pause ends on a day from tomorrow to 1,000 days ahead")
