"""The account itself: address, time zone, quiet hours."""

from zoneinfo import available_timezones

from fastapi import APIRouter
from fastapi.responses import Response

from services.domain.accounts import profile
from services.errors import ConfigError, PaperwireError
from services.flow.commands import opt_in
from services.store.accounts import accounts
from services.web.csrf_forms import Form, Posted
from services.web.page import RequestContext, SignedIn

router = APIRouter(prefix="/account")


@router.get("")
def page(visit: SignedIn) -> Response:
    return _show(visit)


@router.post("")
def change(visit: SignedIn, form: Posted) -> Response:
    try:
        at_once = _save(visit, form)
    except PaperwireError as error:
        return _show(visit, error=str(error), status=422)
    return visit.go("/account", "saved" if at_once else "address")


def _save(visit: RequestContext, form: Form) -> bool:
    """Whether all of it is in effect; another address waits until it is confirmed."""
    quiet_from, quiet_to = form.text("quiet_from"), form.text("quiet_to")
    if bool(quiet_from) != bool(quiet_to):
        raise ConfigError("quiet hours need both a beginning and an end")
    start, end = profile.parse_quiet_hours(f"{quiet_from}-{quiet_to}" if quiet_from else "")
    zone = profile.parse_timezone(form.text("timezone"))
    address = form.text("email") or visit.account["email"]
    house = visit.house
    at_once = opt_in.change_address(house.db, house.settings, visit.account, address, visit.ip)
    with house.db.transaction() as tx:
        accounts.change(tx, visit.account_id, timezone=zone, quiet_from=start, quiet_to=end)
    return at_once


def _show(visit: RequestContext, error: str = "", status: int = 200) -> Response:
    zones = sorted(available_timezones())
    return visit.page("account.html", status, zones=zones, error=error)
