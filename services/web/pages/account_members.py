"""The people who sign in to an account: owners invite them, change their roles and remove them."""

from fastapi import APIRouter
from fastapi.responses import Response

from services.errors import ConfigError, Conflict, PaperwireError
from services.flow.commands import sign_up
from services.store.accounts import invitations, members
from services.store.accounts.records import MEMBER
from services.telemetry import log
from services.web.csrf_forms import Posted
from services.web.pages import account
from services.web.request_context import Id, Owner, SignedIn, signed_out

router = APIRouter(prefix="/account")


@router.post("/people/invite")
def invite(request: Owner, form: Posted) -> Response:
    typed = {"email": form.text("email"), "role": form.text("role", MEMBER)}
    try:
        with request.app.db.transaction() as tx:
            now = request.app.db.now(tx)
            sign_up.invite_to_account(tx, request.account_id, typed["email"], typed["role"], request.ip, now)
    except PaperwireError as error:
        shown = {name: text[:300] for name, text in typed.items()}
        return account.render(request, status=422, person=shown, person_error=str(error))
    return request.redirect("/account", "invited")


@router.post("/invitations/{joining_id}/revoke")
def revoke(request: Owner, form: Posted, joining_id: Id) -> Response:
    with request.app.db.transaction() as tx:
        invitations.revoke(tx, joining_id, request.account_id)
    return request.redirect("/account", "revoked")


@router.post("/people/{member_id}/role")
def change_role(request: Owner, form: Posted, member_id: Id) -> Response:
    role = form.text("role")
    try:
        with request.app.db.transaction() as tx:
            members.set_role(tx, request.account_id, member_id, role)
    except (ConfigError, Conflict) as error:
        return account.render(request, status=422, person_error=str(error))
    log.info("changed a role", account=request.account_id, member=member_id, role=role, by=request.member.id)
    return request.redirect("/account", "saved")


@router.post("/people/{member_id}/remove")
def remove(request: SignedIn, form: Posted, member_id: Id) -> Response:
    """Removes a person from the account, who is signed out at once. Who is no owner may leave, and remove nobody."""
    leaves = member_id == request.member.id
    if not leaves:
        request.require_owner()
    try:
        with request.app.db.transaction() as tx:
            members.remove(tx, request.account_id, member_id)
    except Conflict as error:
        return account.render(request, status=422, person_error=str(error))
    log.info("removed a member", account=request.account_id, member=member_id, by=request.member.id)
    return signed_out(request) if leaves else request.redirect("/account", "removed")
