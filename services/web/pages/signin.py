"""Signing in with a link, and signing out."""

from dataclasses import replace

from fastapi import APIRouter
from fastapi.responses import Response

from services.store.accounts import accounts, credentials, sessions
from services.store.accounts.records import Account
from services.telemetry import log
from services.web.auth import SIGNIN_KEY_FILE, host_of, is_loopback, is_printed_key, safe_next
from services.web.csrf_forms import Posted
from services.web.request_context import Anyone, RequestContext, SignedIn, signed_out
from services.web.requests import HEAD

router = APIRouter()
PROXY_HEADERS = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


@router.get("/signin")
def signin(request: Anyone, key: str = "", next: str = "/") -> Response:
    """Signs in once with the key that a loopback server printed; other keys wait for the button.

    Link scanners open links, and would use up a single-use key.
    """
    if key and HEAD not in request.http.scope and _use_printed(request, key):
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
        log.warning("a sign-in link was refused", ip=request.ip)
        return request.render("signin_refused.html", 403)
    return _sign_in(request, account)


@router.post("/signout")
def signout(request: SignedIn, form: Posted) -> Response:
    """Ends the session, also in another browser that has a copy of the cookie."""
    with request.app.db.transaction() as tx:
        sessions.end(tx, request.session_id, request.account_id)
    log.info("signed out", account=request.account_id)
    return signed_out(request)


def _use_printed(request: RequestContext, key: str) -> bool:
    """Uses up the printed key; False for any other key, and for a request that a proxy passed on."""
    settings, headers = request.app.settings, request.http.headers
    host = headers.get("host", "")
    if any(name in headers for name in PROXY_HEADERS) or not _is_served_locally(request):
        return False
    if not is_printed_key(key, data_dir=settings.data_dir, bind=settings.bind, host_header=host):
        return False
    try:
        (settings.data_dir.expanduser() / SIGNIN_KEY_FILE).unlink()
    except OSError:  # Another request has used it.
        return False
    return True


def _is_served_locally(request: RequestContext) -> bool:
    """Whether the base URL is a loopback address. With another one, a proxy passes on the requests of strangers."""
    return is_loopback(host_of(request.app.settings.base_url))


def _sign_in_operator(request: RequestContext) -> Response:
    with request.app.db.transaction() as tx:
        operator = accounts.first_operator(tx)
    if operator is None:
        return request.render("signin_refused.html", 403)
    return _sign_in(request, operator)


def _sign_in(request: RequestContext, account: Account) -> Response:
    """Starts a session with a new random nonce, and opens the page that was asked for."""
    log.info("signed in", account=account.id, operator=account.operator, ip=request.ip)
    with request.app.db.transaction() as tx:
        key = sessions.start(tx, account.id, request.ip, request.user_agent)
    response = request.redirect(request.session.next_path)
    request.set_session_cookie(response, request.app.sessions.new(key))
    return response


def _prints_links(request: RequestContext) -> bool:
    """Whether `up` prints a sign-in link for this server."""
    settings = request.app.settings
    return (settings.data_dir.expanduser() / SIGNIN_KEY_FILE).is_file() and is_loopback(settings.bind)
