"""The Account page: address, time zone, quiet hours, and where the account is signed in."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated
from zoneinfo import available_timezones

from fastapi import APIRouter, Query
from fastapi.responses import Response

from services.domain.accounts.browser import browser_name
from services.domain.accounts.profile import names_place, parse_quiet_hours, parse_timezone
from services.errors import ConfigError, PaperwireError
from services.flow.commands import opt_in
from services.store.accounts import accounts, invitations, members, sessions
from services.store.accounts.records import MEMBER, Account
from services.store.db import change_log
from services.web.csrf_forms import Form, Posted
from services.web.pages.sessions import whose
from services.web.request_context import RequestContext, SignedIn

router = APIRouter(prefix="/account")
CHANGES_SHOWN = 8
CHANGES_A_PAGE = 100


@router.get("")
def page(request: SignedIn) -> Response:
    return render(request)


@router.get("/changes")
def change_history(request: SignedIn, before: Annotated[int | None, Query(ge=1, lt=2**63)] = None) -> Response:
    """Every change of the account's settings that is still kept, the newest first."""
    with request.app.db.transaction() as tx:
        changes = change_log.newest(tx, request.account_id, CHANGES_A_PAGE, before)
    is_full = len(changes) == CHANGES_A_PAGE
    return request.render("changes.html", changes=changes, kept=request.app.settings.change_log_retention, more=is_full)


@router.post("")
def change(request: SignedIn, form: Posted) -> Response:
    try:
        is_complete = _save(request, form)
    except PaperwireError as error:
        return render(request, form, error, 422)
    return request.redirect("/account", "saved" if is_complete else "address")


def _save(request: RequestContext, form: Form) -> bool:
    """Saves the form; False when a new address waits for its confirmation."""
    quiet_from, quiet_to = form.text("quiet_from"), form.text("quiet_to")
    with _about("quiet_from"):
        if bool(quiet_from) != bool(quiet_to):
            raise ConfigError("quiet hours need both a beginning and an end")
        quiet_hours = parse_quiet_hours(f"{quiet_from}-{quiet_to}" if quiet_from else "")
    with _about("timezone"):
        timezone = parse_timezone(form.text("timezone"))
    address, app = form.text("email") or request.account.email, request.app
    with _about("email"):
        if address not in (request.account.email, request.account.new_email) and not request.member.is_owner:
            raise ConfigError("only an owner of this account may change its address")
        is_complete = opt_in.change_address(app.db, app.settings, request.account, address, request.ip)
    with app.db.transaction() as tx:
        accounts.set_hours(tx, request.account_id, timezone, *quiet_hours)
    return is_complete


@contextmanager
def _about(field: str) -> Iterator[None]:
    """Names the field that a message is about, beside which the page shows it."""
    try:
        yield
    except PaperwireError as error:
        raise ConfigError(str(error), field=field) from error


def render(
    request: RequestContext,
    form: Form | None = None,
    error: PaperwireError | None = None,
    status: int = 200,
    person: Mapping[str, str] | None = None,
    person_error: str = "",
) -> Response:
    """The page; with what was typed into a form that was refused. `person`: the form that invites."""
    with request.app.db.transaction() as tx:
        open_sessions = sessions.open_of(tx, request.account_id, whose(request))
        people = members.all_of(tx, request.account_id)
        invited = invitations.all_open(tx, request.account_id)
        changes = change_log.newest(tx, request.account_id, CHANGES_SHOWN)
    return request.render(
        "account.html",
        status,
        zones=sorted(filter(names_place, available_timezones())),
        typed={name: form.text(name) if form else value for name, value in _saved(request.account).items()},
        error=error or "",
        error_field=error.field if isinstance(error, ConfigError) else "",
        people=people,
        invitations=invited,
        changes=changes,
        typed_person=person or {"email": "", "role": MEMBER},
        person_error=person_error,
        sessions=[(one, browser_name(one.user_agent), one.id == request.session_id) for one in open_sessions],
    )


def _saved(account: Account) -> dict[str, str]:
    """The fields of the form as they are stored."""
    hours = {"quiet_from": account.quiet_from, "quiet_to": account.quiet_to}
    clock = {name: f"{at:%H:%M}" if at else "" for name, at in hours.items()}
    return {"email": account.new_email or account.email, "timezone": account.timezone, **clock}
