"""An owner deletes the account, with seven days to undo it."""

from fastapi import APIRouter
from fastapi.responses import Response

from services.errors import ConfigError, PaperwireError
from services.store.accounts import accounts
from services.telemetry import log
from services.web.csrf_forms import Posted
from services.web.request_context import Leaving, Owner

router = APIRouter(prefix="/account/deletion")


@router.get("")
def page(request: Leaving) -> Response:
    if request.account.delete_at is None:
        request.require_owner()
    return request.render("deletion.html", typed="", error="")


@router.post("")
def schedule(request: Owner, form: Posted) -> Response:
    typed = form.text("email")
    try:
        if typed.lower() != request.account.email:
            raise ConfigError(f"enter the address of the account, {request.account.email}, to delete it")
        with request.app.db.transaction() as tx:
            accounts.schedule_deletion(tx, request.account_id)
    except PaperwireError as error:
        return request.render("deletion.html", 422, typed=typed[:300], error=str(error))
    log.info("an account is to be deleted", account=request.account_id, ip=request.ip)
    return request.redirect("/account/deletion")


@router.post("/undo")
def undo(request: Leaving, form: Posted) -> Response:
    request.require_owner()
    with request.app.db.transaction() as tx:
        accounts.keep(tx, request.account_id)
    return request.redirect("/account", "kept")
