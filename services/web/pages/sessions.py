"""Ends the sessions that the Account page lists."""

from fastapi import APIRouter
from fastapi.responses import Response

from services.store.accounts import sessions
from services.telemetry import log
from services.web.csrf_forms import Posted
from services.web.request_context import Id, RequestContext, SignedIn, signed_out

router = APIRouter(prefix="/account/sessions")


def whose(request: RequestContext) -> int | None:
    """The member whose sessions the request may see and end; None: those of all members."""
    return None if request.member.is_owner else request.member.id


@router.post("/end")
def end_all(request: SignedIn, form: Posted) -> Response:
    """Ends every session of the account, this one too. Who is no owner ends the own sessions."""
    with request.app.db.transaction() as tx:
        sessions.end_all(tx, request.account_id, whose(request))
    log.info("signed out everywhere", account=request.account_id)
    return signed_out(request)


@router.post("/{session_id}/end")
def end(request: SignedIn, form: Posted, session_id: Id) -> Response:
    with request.app.db.transaction() as tx:
        sessions.end(tx, session_id, request.account_id, whose(request))
    log.info("ended a session", account=request.account_id, session=session_id)
    return signed_out(request) if session_id == request.session_id else request.redirect("/account", "session-ended")
