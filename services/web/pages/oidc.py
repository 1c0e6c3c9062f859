"""Signing in at the OpenID Connect issuer of the settings."""

import hmac
import secrets
import time
from dataclasses import replace

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response

from services.domain.accounts.issuer_subject import Identity
from services.domain.accounts.profile import normalize_email
from services.domain.accounts.signin import LINK_LIFETIME
from services.errors import Busy, ConfigError, NotFound, SigninError
from services.flow.commands import sign_up
from services.flow.oidc.issuer import Issuer
from services.store.accounts import link_requests, members
from services.store.db import change_log
from services.telemetry import log
from services.web.auth import browser_digest
from services.web.csrf_forms import Posted
from services.web.pages import signin
from services.web.request_context import Anyone, RequestContext
from services.web.requests import HEAD

router = APIRouter(prefix="/signin/oidc")
MAX_PARAMETER = 4_000
"""Characters of a code."""


@router.get("")
def begin(request: Anyone) -> Response:
    """Sends the browser to the issuer. The cookie keeps what the answer is compared with."""
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    if HEAD in request.http.scope or request.app.issuer is None:
        return request.redirect("/signin")
    try:
        url = request.app.issuer.authorize_url(state, nonce, verifier)
    except (SigninError, Busy) as error:
        return signin.ask(request, error=str(error), status=503)
    response = RedirectResponse(url, 303)
    request.set_session_cookie(response, replace(request.session, oidc=f"{state} {nonce} {verifier}"))
    return response


@router.get("/callback")
def finish(request: Anyone, state: str = "", code: str = "", error: str = "", iss: str = "") -> Response:
    """Takes the answer that the browser brings from the issuer, once."""
    issuer = request.app.issuer
    if HEAD in request.http.scope or issuer is None:
        return request.redirect("/signin")
    begun = request.session.oidc.split(" ")
    if len(begun) != 3 or not hmac.compare_digest(begun[0].encode(), state.encode()):
        return _refuse(request, "this sign-in did not begin in this browser, or it was used already; begin again")
    if error or not 0 < len(code) <= MAX_PARAMETER:
        return _refuse(request, "the sign-in service did not sign you in; begin again, or have a link mailed")
    try:
        identity = issuer.finish(code, begun[1], begun[2], iss)
    except (SigninError, Busy) as failure:
        return _refuse(request, str(failure))
    actor = change_log.Actor(identity.email or f"a person of {issuer.name}", ip=request.ip)
    with change_log.acting(actor), request.app.db.transaction() as tx:
        member = sign_up.sign_in_with(tx, request.app.settings, identity)
        may_sign_in = member is not None and members.may_sign_in(tx, member)
    if member is not None and may_sign_in:
        return signin.sign_in(request, member)
    if member is None and not identity.email:
        return _ask_for_address(request, identity)
    who = identity.email or "this identity"
    return _refuse(request, f"{who} may not sign in here; ask an operator for an invitation")


@router.post("/email")
def confirm_address(request: Anyone, form: Posted) -> Response:
    """Has a link mailed that connects an identity without an address with the address that was entered."""
    identity = _waiting_identity(request)
    if identity is None:
        return _refuse(request, "this sign-in is too old; begin again")
    typed = form.text("email")
    try:
        email = normalize_email(typed)
        with request.app.db.transaction() as tx:
            link_requests.add(tx, email, request.ip, browser_digest(request.session), identity)
    except (ConfigError, Busy) as error:
        return _address_page(request, typed[:300], str(error), 429 if isinstance(error, Busy) else 422)
    return request.render("signin_mailed.html", email=email)


def _issuer(request: RequestContext) -> Issuer:
    if request.app.issuer is None:
        raise NotFound("this paperwire has no sign-in service; PAPERWIRE_OIDC_ISSUER is not set")
    return request.app.issuer


def _ask_for_address(request: RequestContext, identity: Identity) -> Response:
    response = _address_page(request)
    waiting = f"{identity.issuer}\n{identity.subject}\n{int(time.time())}"
    session = replace(request.session, oidc="", identity=waiting)
    request.set_session_cookie(response, session)
    return response


def _address_page(request: RequestContext, email: str = "", error: str = "", status: int = 200) -> Response:
    return request.render("oidc_email.html", status, issuer=_issuer(request).name, email=email, error=error)


def _waiting_identity(request: RequestContext) -> Identity | None:
    """Who signed in at the issuer a short time ago in this browser and has no address here."""
    issuer, subject, began = [*request.session.identity.split("\n"), "", "", ""][:3]
    is_fresh = began.isdecimal() and time.time() - int(began) < LINK_LIFETIME.total_seconds()
    return Identity(issuer, subject) if is_fresh and issuer == _issuer(request).url else None


def _refuse(request: RequestContext, why: str) -> Response:
    """The sign-in page with the reason. What was begun cannot be used again."""
    log.warning("a sign-in at the issuer was refused", ip=request.ip, why=why)
    response = signin.ask(request, error=why, status=403)
    request.set_session_cookie(response, replace(request.session, oidc="", identity=""))
    return response
