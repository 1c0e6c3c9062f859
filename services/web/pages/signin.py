"""Signing in with a link, asking for such a link by mail, and signing out."""

from dataclasses import replace

from fastapi import APIRouter
from fastapi.responses import Response
from sqlalchemy import Connection

from services.domain.accounts.issuer_subject import Identity
from services.domain.accounts.profile import normalize_email
from services.errors import Busy, ConfigError
from services.flow.commands import sign_up
from services.store.accounts import accounts, credentials, invitations, link_requests, members, sessions
from services.store.accounts.records import Member, SigninLink
from services.store.db import change_log
from services.telemetry import log
from services.web.auth import SIGNIN_KEY_FILE, browser_digest, host_of, is_loopback, is_printed_key, safe_next
from services.web.csrf_forms import Posted
from services.web.request_context import Anyone, Leaving, RequestContext, signed_out
from services.web.requests import HEAD

router = APIRouter()
MAX_KEY = 100
"""Characters of a key that the cookie keeps. Real keys have 43."""
PROXY_HEADERS = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


@router.get("/signin")
def signin(request: Anyone, key: str = "", next: str = "/") -> Response:
    """Signs in once with the key that a loopback server printed; other keys wait for the button on the next page.

    Link scanners open links, and would use up a single-use key. The next page has no key in its address.
    """
    if key and HEAD not in request.http.scope and _use_printed(request, key):
        return _sign_in_operator(request)
    if key:
        response = request.redirect("/signin/link")
        response.headers["Referrer-Policy"] = "no-referrer"
        request.set_session_cookie(response, replace(request.session, link=key[:MAX_KEY]))
        return response
    response = ask(request)
    next_path = safe_next(next)
    if next_path != "/" and request.maybe_account is None:
        request.set_session_cookie(response, replace(request.session, next_path=next_path))
    return response


@router.get("/signin/link")
def opened(request: Anyone) -> Response:
    """The page of a link that was opened: its button signs in."""
    key = request.session.link
    if not key:
        return request.redirect("/signin")
    with request.app.db.transaction() as tx:
        link = credentials.find_signin_link(tx, key)
    if link is None:
        return request.render("signin_refused.html", 403)
    return _confirm(request, key, link)


@router.post("/signin/mail")
def ask_by_mail(request: Anyone, form: Posted) -> Response:
    """Has a link mailed. The answer is the same whether or not the address has an account."""
    typed = form.text("email")
    try:
        email = normalize_email(typed)
        with request.app.db.transaction() as tx:
            link_requests.add(tx, email, request.ip, browser_digest(request.session))
    except (ConfigError, Busy) as error:
        log.warning("a request for a sign-in link was refused", ip=request.ip)
        return ask(request, typed[:300], str(error), 429 if isinstance(error, Busy) else 422)
    return request.render("signin_mailed.html", email=email)


@router.post("/signin")
def use_key(request: Anyone, form: Posted) -> Response:
    """Uses up a link. In another browser than the one that asked for it, a page asks first."""
    key = form.text("key")
    with request.app.db.transaction() as tx:
        link = credentials.find_signin_link(tx, key)
    if link is not None and _is_elsewhere(request, link) and (link.issuer or form.text("confirmed") != "on"):
        return _confirm(request, key, link)
    actor = change_log.Actor(link.email if link is not None else "", ip=request.ip)
    with change_log.acting(actor), request.app.db.transaction() as tx:
        used = credentials.use_signin_link(tx, key)
        member = _member_of(tx, request, used, form.text("timezone")) if used is not None else None
        if member is not None and used is not None and used.issuer:
            is_connected = members.connect(tx, member, Identity(used.issuer, used.subject))
            member = member if is_connected else None
    if member is None:
        log.warning("a sign-in link was refused", ip=request.ip)
        return request.render("signin_refused.html", 403)
    return sign_in(request, member)


@router.post("/signout")
def signout(request: Leaving, form: Posted) -> Response:
    """Ends the session, also in another browser that has a copy of the cookie."""
    with request.app.db.transaction() as tx:
        sessions.end(tx, request.session_id, request.account_id)
    log.info("signed out", account=request.account_id)
    return signed_out(request)


def ask(request: RequestContext, email: str = "", error: str = "", status: int = 200) -> Response:
    """The sign-in page."""
    issuer = request.app.issuer.name if request.app.issuer else ""
    printed = _prints_links(request)
    return request.render("signin.html", status, printed=printed, email=email, error=error, issuer=issuer)


def _member_of(tx: Connection, request: RequestContext, used: SigninLink, timezone: str) -> Member | None:
    """Who signs in with a used link; made now for an address that may sign up."""
    if used.account_id is None:
        return sign_up.accept(tx, request.app.settings, used, timezone)
    member = members.find(tx, used.email)
    is_valid = member is not None and member.account_id == used.account_id and members.may_sign_in(tx, member)
    return member if is_valid else None


def _confirm(request: RequestContext, key: str, link: SigninLink) -> Response:
    team = ""
    if link.invitation_id is not None:
        with request.app.db.transaction() as tx:
            team = invitations.team_of(tx, link.invitation_id)
    return request.render("signin_link.html", key=key, link=link, team=team, elsewhere=_is_elsewhere(request, link))


def _is_elsewhere(request: RequestContext, link: SigninLink) -> bool:
    """Whether another browser asked for the link. Links of the command line belong to no browser."""
    return bool(link.browser) and link.browser != browser_digest(request.session)


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
        owner = members.first_owner(tx, operator.id) if operator is not None else None
    if owner is None:
        return request.render("signin_refused.html", 403)
    return sign_in(request, owner)


def sign_in(request: RequestContext, member: Member) -> Response:
    """Starts a session with a new random nonce, and opens the page that was asked for."""
    log.info("signed in", account=member.account_id, member=member.id, ip=request.ip)
    with request.app.db.transaction() as tx:
        key = sessions.start(tx, member.account_id, request.ip, request.user_agent, member.id)
    response = request.redirect(request.session.next_path)
    request.set_session_cookie(response, request.app.sessions.new(key))
    return response


def _prints_links(request: RequestContext) -> bool:
    """Whether `up` prints a sign-in link for this server."""
    settings = request.app.settings
    return (settings.data_dir.expanduser() / SIGNIN_KEY_FILE).is_file() and is_loopback(settings.bind)
