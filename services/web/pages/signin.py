"""Signing in by a link, and out."""

from dataclasses import replace

from fastapi import APIRouter
from fastapi.responses import Response

from services.store.accounts import accounts, credentials
from services.web.auth import COOKIE, SIGNIN_KEY_FILE, is_loopback, is_printed_key, safe_next
from services.web.csrf_forms import Posted
from services.web.page import Anyone, RequestContext, SignedIn

router = APIRouter()


@router.get("/signin")
def signin(visit: Anyone, key: str = "", next: str = "/") -> Response:
    """The printed key of a loopback server signs in at once; a single-use key waits for the button, since link
    scanners open links; without a key the page says how to get one."""
    if key and _is_printed(visit, key):
        return _as_operator(visit)
    response = visit.page("signin.html", key=key, printed=_prints_links(visit))
    then = safe_next(next)
    if then != "/" and visit.known is None:
        visit.remember(response, replace(visit.session, then=then))
    return response


@router.post("/signin")
def use_key(visit: Anyone, form: Posted) -> Response:
    with visit.house.db.transaction() as tx:
        account_id = credentials.use_signin_link(tx, form.text("key"))
    if account_id is None:
        return visit.page("signin_refused.html", 403)
    return _enter(visit, account_id)


@router.post("/signout")
def signout(visit: SignedIn, form: Posted) -> Response:
    response = visit.go("/signin")
    response.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=visit.house.secure)
    return response


def _is_printed(visit: RequestContext, key: str) -> bool:
    settings = visit.house.settings
    host = visit.request.headers.get("host", "")
    return is_printed_key(key, data_dir=settings.data_dir, bind=settings.bind, host_header=host)


def _as_operator(visit: RequestContext) -> Response:
    with visit.house.db.transaction() as tx:
        first = accounts.first_operator(tx)
    if first is None:
        return visit.page("signin_refused.html", 403)
    return _enter(visit, first["id"])


def _enter(visit: RequestContext, account_id: int) -> Response:
    """A new session (so nobody else knows it), and on to where the person wanted to go."""
    response = visit.go(visit.session.then)
    visit.remember(response, visit.house.sessions.new(account_id))
    return response


def _prints_links(visit: RequestContext) -> bool:
    """Whether `up` prints a sign-in link for this server."""
    settings = visit.house.settings
    return (settings.data_dir.expanduser() / SIGNIN_KEY_FILE).is_file() and is_loopback(settings.bind)
