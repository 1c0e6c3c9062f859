"""The account itself: address, time zone, quiet hours."""

from zoneinfo import available_timezones

from fastapi import APIRouter
from fastapi.responses import Response

from services.errors import ConfigError, PaperwireError
from services.flow.commands import opt_in
from services.store.accounts import accounts
from services.web.csrf_forms import Form, Posted
from services.web.request_context import RequestContext, SignedIn

router = APIRouter(prefix="/account")


@router.get("")
def page(request: SignedIn) -> Response:
    return _show(request)


@router.post("")
def change(request: SignedIn, form: Posted) -> Response:
    try:
        at_once = _save(request, form)
    except PaperwireError as error:
        return _show(request, error=str(error), status=422)
    return request.redirect("/account", "saved" if at_once else "address")


def _save(request: RequestContext, form: Form) -> bool:
    """Whether all of it is in effect; another address waits until it is confirmed."""
    quiet_from, quiet_to = form.text("quiet_from"), form.text("quiet_to")
    if bool(quiet_from) != bool(quiet_to):
        raise ConfigError("quiet hours need both a beginning and an end")
    start, end = accounts.quiet_hours(f"{quiet_from}-{quiet_to}" if quiet_from else "")
    zone = accounts.known_timezone(form.text("timezone"))
    address = form.text("email") or request.account["email"]
    app = request.app
    at_once = opt_in.change_address(app.db, app.settings, request.account, address, request.ip)
    with app.db.transaction() as tx:
        accounts.change(tx, request.account_id, timezone=zone, quiet_from=start, quiet_to=end)
    return at_once


def _show(request: RequestContext, error: str = "", status: int = 200) -> Response:
    zones = sorted(available_timezones())
    return request.render("account.html", status, zones=zones, error=error)
