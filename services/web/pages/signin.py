"""Signing in with a link, and signing out."""

from dataclasses import replace

from fastapi import APIRouter
from fastapi.responses import Response

from services.store.accounts import accounts, credentials
from services.store.accounts.records import Account
from services.web.auth import COOKIE, SIGNIN_KEY_FILE, is_loopback, is_printed_key, safe_next
from services.web.csrf_forms import Posted
from services.web.request_context import Anyone, RequestContext, SignedIn

router = APIRouter()


@router.get("/signin")
def signin(request: Anyone, key: str = "", next: str = "/") -> Response:
    """Signs in with the key that a loopback server printed; other keys wait for the button.

    Link scanners open links, and would use up a single-use key.
    """
    if key and _is_printed(request, key):
        return _sign_in_operator(request)
    response = request.render("signin.html", key=key, printed=_prints_links(request))
    next_path = safe_next(next)
    if next_path != "/" and request.maybe_account is None:
        request.set_session_cookie(response, replace(request.session, next_path=next_path))
    return response


@router.post("/signin")
def use_key(request: Anyone, form: Posted) -> Response:
    with request.app.db.transaction() as tx:
        account_id = credentials.use_signin_link(tx, form.text("key"))
        account = accounts.by_id(tx, account_id) if account_id is not None else None
    if account is None:
        return request.render("signin_refused.html", 403)
    return _sign_in(request, account)


@router.post("/signout")
def signout(request: SignedIn, form: Posted) -> Response:
    """Ends every session of the account, also one whose cookie was copied."""
    with request.app.db.transaction() as tx:
        credentials.end_sessions(tx, request.account_id)
    response = request.redirect("/signin")
    response.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=request.app.is_https)
    return response


def _is_printed(request: RequestContext, key: str) -> bool:
    settings = request.app.settings
    host = request.http.headers.get("host", "")
    return is_printed_key(key, data_dir=settings.data_dir, bind=settings.bind, host_header=host)


def _sign_in_operator(request: RequestContext) -> Response:
    with request.app.db.transaction() as tx:
        operator = accounts.first_operator(tx)
    if operator is None:
        return request.render("signin_refused.html", 403)
    return _sign_in(request, operator)


def _sign_in(request: RequestContext, account: Account) -> Response:
    """Starts a session with a new random nonce, and opens the page that was asked for."""
    response = request.redirect(request.session.next_path)
    request.set_session_cookie(response, request.app.sessions.new(account))
    return response


def _prints_links(request: RequestContext) -> bool:
    """Whether `up` prints a sign-in link for this server."""
    settings = request.app.settings
    return (settings.data_dir.expanduser() / SIGNIN_KEY_FILE).is_file() and is_loopback(settings.bind)
