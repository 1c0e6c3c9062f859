"""The page that lists, adds and ends silences."""

from datetime import timedelta

from fastapi import APIRouter
from fastapi.responses import Response

from services.errors import ConfigError, NotFound, PaperwireError, QueryError
from services.flow.commands import subscribe
from services.store.subscriptions import silences, subscriptions
from services.web.csrf_forms import Form, Posted
from services.web.request_context import Id, RequestContext, SignedIn, date_in

router = APIRouter(prefix="/silences")
LOSS_COUNTED_FOR = timedelta(days=7)


@router.get("")
def page(request: SignedIn) -> Response:
    return _listing(request)


@router.post("")
def add(request: SignedIn, form: Posted) -> Response:
    try:
        loss = 0 if form.text("confirmed") else _count_loss(request, form)
        if loss:
            return _listing(request, form, loss=loss)
        _add(request, form)
    except NotFound:
        raise
    except PaperwireError as error:
        return _listing(request, form, error, status=422)
    return request.redirect("/silences", "silenced")


@router.post("/{silence_id}/end")
def end(request: SignedIn, form: Posted, silence_id: Id) -> Response:
    with request.app.db.transaction() as tx:
        silences.end(tx, silence_id, request.account_id)
    return request.redirect("/silences", "ended")


def _count_loss(request: RequestContext, form: Form) -> int:
    """How many papers of the last days the silence would have dropped. Raises PaperwireError for an invalid form."""
    query, subscription_id = form.text("query"), form.id("subscription")
    if not (query or subscription_id or form.text("everything")):
        raise ConfigError("choose what to silence: enter a query, choose a subscription, or tick all papers")
    with request.app.db.transaction() as tx:
        since = request.app.db.now(tx) - LOSS_COUNTED_FOR
        return silences.count_covered(tx, request.account_id, since, query, subscription_id)


def _add(request: RequestContext, form: Form) -> None:
    if not form.text("until"):
        raise ConfigError("enter the day on which the silence ends")
    until = subscribe.start_of(form.text("until"), request.account.timezone)
    now = request.app.db.now()
    with request.app.db.transaction() as tx:
        subscription_id = form.id("subscription")
        silences.add(tx, request.account_id, until, now, form.text("query"), subscription_id)


def _listing(
    request: RequestContext,
    form: Form | None = None,
    error: PaperwireError | None = None,
    status: int = 200,
    loss: int = 0,
) -> Response:
    now = request.app.db.now()
    with request.app.db.transaction() as tx:
        active = silences.list_all(tx, now, request.account_id)
        listed = subscriptions.list_all(tx, request.account_id)
    typed = {name: form.text(name) if form else "" for name in ("query", "subscription", "until", "everything")}
    context = {"silences": active, "subscriptions": listed, "error": error, "typed": typed, "loss": loss}
    caret = error.caret() if isinstance(error, QueryError) else ""
    return request.render("silences.html", status, **context, caret=caret, soon=date_in(7))
