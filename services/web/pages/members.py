"""The page of operators that lists all accounts and invitations."""

from fastapi import APIRouter
from fastapi.responses import Response

from services.domain.accounts.signup import parse_signup
from services.errors import Conflict, NotFound, PaperwireError
from services.flow.commands import sign_up
from services.store.accounts import accounts, invitations, sessions
from services.store.accounts.records import Account
from services.web.csrf_forms import Posted
from services.web.request_context import Id, Operator, RequestContext

router = APIRouter(prefix="/members")


@router.get("")
def page(request: Operator) -> Response:
    return _listing(request)


@router.post("/invite")
def invite(request: Operator, form: Posted) -> Response:
    typed = form.text("email")
    try:
        sign_up.invite(request.app.db, request.app.settings, typed, request.account_id, request.ip)
    except PaperwireError as error:
        return _listing(request, typed[:300], str(error), 422)
    return request.redirect("/members", "invited")


@router.post("/invitations/{invitation_id}/revoke")
def revoke(request: Operator, form: Posted, invitation_id: Id) -> Response:
    with request.app.db.transaction() as tx:
        invitations.revoke(tx, invitation_id)
    return request.redirect("/members", "revoked")


@router.post("/{account_id}/operator")
def set_operator(request: Operator, form: Posted, account_id: Id) -> Response:
    """Makes an account an operator's with `operator=on`, and an ordinary one without."""
    _find(request, account_id)
    try:
        with request.app.db.transaction() as tx:
            accounts.set_operator(tx, account_id, form.text("operator") == "on")
    except Conflict as error:
        return _listing(request, error=str(error), status=422)
    return request.redirect("/members", "saved")


@router.post("/{account_id}/sign-out")
def sign_out(request: Operator, form: Posted, account_id: Id) -> Response:
    _find(request, account_id)
    with request.app.db.transaction() as tx:
        sessions.end_all(tx, account_id)
    return request.redirect("/members", "signed-out")


@router.post("/{account_id}/disable")
def disable(request: Operator, form: Posted, account_id: Id) -> Response:
    """Disables an account with `disabled=on`, and enables it without."""
    _find(request, account_id)
    step = accounts.disable if form.text("disabled") == "on" else accounts.enable
    try:
        with request.app.db.transaction() as tx:
            step(tx, account_id)
    except Conflict as error:
        return _listing(request, error=str(error), status=422)
    return request.redirect("/members", "saved")


@router.get("/{account_id}/delete")
def confirm_delete(request: Operator, account_id: Id) -> Response:
    return request.render(
        "confirm.html",
        question=f"Delete the account {_find(request, account_id).email}?",
        consequence="Its subscriptions, channels, votes and messages are deleted at once. This cannot be undone.",
        label="Delete",
        back="/members",
    )


@router.post("/{account_id}/delete")
def delete(request: Operator, form: Posted, account_id: Id) -> Response:
    _find(request, account_id)
    try:
        with request.app.db.transaction() as tx:
            accounts.remove_by_operator(tx, account_id)
    except Conflict as error:
        return _listing(request, error=str(error), status=422)
    return request.redirect("/members", "account-deleted")


def _find(request: RequestContext, account_id: int) -> Account:
    with request.app.db.transaction() as tx:
        found = accounts.by_id(tx, account_id)
    if found is None:
        raise NotFound(f"no account {account_id}")
    return found


def _listing(request: RequestContext, email: str = "", error: str = "", status: int = 200) -> Response:
    with request.app.db.transaction() as tx:
        listed, invited = accounts.summaries(tx), invitations.all_open(tx)
    signup = request.app.settings.signup
    return request.render(
        "members.html",
        status,
        accounts=listed,
        invitations=invited,
        signup=signup,
        can_invite=parse_signup(signup).takes_invitations,
        email=email,
        error=error,
    )
