"""Silences: what is not to be heard for a while."""

from fastapi import APIRouter
from fastapi.responses import Response

from services.errors import ConfigError, NotFound, PaperwireError, QueryError
from services.flow.commands import subscribe
from services.store.subscriptions import silences, subscriptions
from services.web.csrf_forms import Form, Posted
from services.web.page import Id, RequestContext, SignedIn, soon

router = APIRouter(prefix="/silences")


@router.get("")
def page(visit: SignedIn) -> Response:
    return _listing(visit)


@router.post("")
def add(visit: SignedIn, form: Posted) -> Response:
    try:
        _add(visit, form)
    except NotFound:
        raise
    except PaperwireError as error:
        return _listing(visit, form, error, status=422)
    return visit.go("/silences", "silenced")


@router.post("/{silence_id}/end")
def end(visit: SignedIn, form: Posted, silence_id: Id) -> Response:
    with visit.house.db.transaction() as tx:
        silences.end(tx, silence_id, visit.account_id)
    return visit.go("/silences", "ended")


def _add(visit: RequestContext, form: Form) -> None:
    if not form.text("until"):
        raise ConfigError("say until when")
    until = subscribe.start_of(form.text("until"), visit.account["timezone"])
    now = visit.house.db.now()
    with visit.house.db.transaction() as tx:
        subscription_id = form.number("subscription") or None
        silences.add(tx, visit.account_id, until, now, form.text("query"), subscription_id)


def _listing(
    visit: RequestContext, form: Form | None = None, error: PaperwireError | None = None, status: int = 200
) -> Response:
    now = visit.house.db.now()
    with visit.house.db.transaction() as tx:
        found = silences.list_all(tx, now, visit.account_id)
        mine = subscriptions.list_all(tx, visit.account_id)
    typed = {name: form.text(name) if form else "" for name in ("query", "subscription", "until")}
    context = {"silences": found, "subscriptions": mine, "error": error, "typed": typed}
    caret = error.caret() if isinstance(error, QueryError) else ""
    return visit.page("silences.html", status, **context, caret=caret, soon=soon(7))
