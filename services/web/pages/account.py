"""The Account page: address, time zone, quiet hours."""

from zoneinfo import available_timezones

from fastapi import APIRouter
from fastapi.responses import Response

from services.domain.accounts.profile import names_place, parse_quiet_hours, parse_timezone
from services.errors import ConfigError, PaperwireError
from services.flow.commands import opt_in
from services.store.accounts import accounts
from services.web.csrf_forms import Form, Posted
from services.web.request_context import RequestContext, SignedIn

router = APIRouter(prefix="/account")


@router.get("")
def page(request: SignedIn) -> Response:
    return _render(request)


@router.post("")
def change(request: SignedIn, form: Posted) -> Response:
    try:
        is_complete = _save(request, form)
    except PaperwireError as error:
        return _render(request, error=str(error), status=422)
    return request.redirect("/account", "saved" if is_complete else "address")


def _save(request: RequestContext, form: Form) -> bool:
    """Saves the form; False when a new address waits for its confirmation."""
    quiet_from, quiet_to = form.text("quiet_from"), form.text("quiet_to")
    if bool(quiet_from) != bool(quiet_to):
        raise ConfigError("quiet hours need both a beginning and an end")
    quiet_hours = parse_quiet_hours(f"{quiet_from}-{quiet_to}" if quiet_from else "")
    timezone = parse_timezone(form.text("timezone"))
    address = form.text("email") or request.account.email
    app = request.app
    is_complete = opt_in.change_address(app.db, app.settings, request.account, address, request.ip)
    with app.db.transaction() as tx:
        accounts.set_hours(tx, request.account_id, timezone, *quiet_hours)
    return is_complete


def _render(request: RequestContext, error: str = "", status: int = 200) -> Response:
    return request.render("account.html", status, zones=sorted(filter(names_place, available_timezones())), error=error)
