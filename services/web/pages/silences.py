"""The page that lists, adds and ends silences."""

from fastapi import APIRouter
from fastapi.responses import Response

from services.errors import ConfigError, NotFound, PaperwireError, QueryError
from services.flow.commands import subscribe
from services.store.subscriptions import silences, subscriptions
from services.web.csrf_forms import Form, Posted
from services.web.request_context import Id, RequestContext, SignedIn, date_in

router = APIRouter(prefix="/silences")


@router.get("")
def page(request: SignedIn) -> Response:
    return _listing(request)


@router.post("")
def add(request: SignedIn, form: Posted) -> Response:
    try:
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


def _add(request: RequestContext, form: Form) -> None:
    if not form.text("until"):
        raise ConfigError("enter the day on which the silence ends")
    until = subscribe.start_of(form.text("until"), request.account.timezone)
    now = request.app.db.now()
    with request.app.db.transaction() as tx:
        subscription_id = form.id("subscription")
        silences.add(tx, request.account_id, until, now, form.text("query"), subscription_id)


def _listing(
    request: RequestContext, form: Form | None = None, error: PaperwireError | None = None, status: int = 200
) -> Response:
    now = request.app.db.now()
    with request.app.db.transaction() as tx:
        active = silences.list_all(tx, now, request.account_id)
        listed = subscriptions.list_all(tx, request.account_id)
    typed = {name: form.text(name) if form else "" for name in ("query", "subscription", "until")}
    context = {"silences": active, "subscriptions": listed, "error": error, "typed": typed}
    caret = error.caret() if isinstance(error, QueryError) else ""
    return request.render("silences.html", status, **context, caret=caret, soon=date_in(7))
