"""The context of one request: what a handler receives, and how it renders a page or redirects."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from fastapi import Depends, HTTPException, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from services import render
from services.errors import NotFound
from services.store.accounts import sessions
from services.store.accounts.records import Account, Member
from services.telemetry import log
from services.web import formatting
from services.web.auth import SESSION_SECONDS, Session
from services.web.context import App, AppContext

Id = Annotated[int, Path(ge=1, lt=2**63)]
FLASH_MESSAGES = {
    "saved": "Saved.",
    "session-ended": "Signed out there.",
    "kept": "The account is kept. What has waited is sent now.",
    "invited": "Invited. The mail with the link is on its way.",
    "revoked": "Revoked. The link of the invitation no longer works.",
    "signed-out": "Signed out in every browser.",
    "account-deleted": "The account is deleted.",
    "created": "Subscribed. New papers that match will reach you from now on.",
    "readdressed": "The feed has a new address; the old link no longer works.",
    "deleted": "Deleted.",
    "removed": "Removed.",
    "paused": "Paused. Papers that match during the pause are sent when it ends.",
    "silenced": "Silenced. Matches that it covers are dropped until it ends.",
    "ended": "The silence has ended.",
    "resumed": "Resumed.",
    "polling": "The poll has started. Reload this page to see the result.",
    "added": "Added.",
    "watched": "Watched. The first reading has started; what it announces from now on is matched.",
    "asked": "A message with a link to confirm was sent there. Nothing else is sent until somebody there confirms. "
    "There is at most one such message an hour, and three a day.",
    "address": "Saved. Mails go to the new address once its owner follows the link in the confirmation mail.",
    "subscribed": "Subscribed again. New matches are sent there from now on.",
    "enabled": "Enabled. Waiting alerts are sent now.",
    "testing": "A test message is being sent. See Deliveries for the result.",
    "retrying": "The delivery is being sent again.",
    "released": "Released. The paper is embedded and matched again now.",
}
"""The messages that a redirect may show on the next page, by the value of the `flash` query parameter."""


class NeedsSignIn(Exception):
    """The page needs an account and the request has no session."""


class WillBeDeleted(Exception):
    """The account is to be deleted, so it has one page only, which undoes that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    http: Request
    app: AppContext
    session: Session
    maybe_account: Account | None
    """The account that is signed in; None on the sign-in pages."""
    maybe_member: Member | None = None
    """The member of the account who is signed in."""
    session_id: int = 0
    """The row of the session; 0 for nobody."""

    @property
    def account(self) -> Account:
        assert self.maybe_account is not None, "the handler must depend on SignedIn"
        return self.maybe_account

    @property
    def member(self) -> Member:
        assert self.maybe_member is not None, "the handler must depend on SignedIn"
        return self.maybe_member

    def require_owner(self) -> None:
        if not self.member.is_owner:
            raise HTTPException(403, "Only an owner of this account may do this. Ask one of its owners.")

    @property
    def account_id(self) -> int:
        return self.account.id

    @property
    def ip(self) -> str:
        return self.http.client.host if self.http.client else ""

    @property
    def user_agent(self) -> str:
        return self.http.headers.get("user-agent", "").replace("\0", "")

    @property
    def is_htmx(self) -> bool:
        return self.http.headers.get("HX-Request") == "true"

    def render(self, template: str, status: int = 200, **context: Any) -> HTMLResponse:
        zone = ZoneInfo(self.maybe_account.timezone) if self.maybe_account else UTC
        now = datetime.now(UTC)
        html = render.render(
            f"web/{template}",
            account=self.maybe_account,
            member=self.maybe_member,
            token=self.app.sessions.form_token(self.session),
            current_path=self.http.url.path,
            flash=FLASH_MESSAGES.get(self.http.query_params.get("flash", ""), ""),
            now=now,
            local=lambda moment: formatting.local(moment, zone, now),
            ago=lambda moment: formatting.distance(moment, now),
            **context,
        )
        response = HTMLResponse(html, status)
        # The token of each form belongs to this session, so a browser without a valid cookie gets one.
        if self.app.sessions.read(self.http.cookies.get(self.app.cookie, "")) is None:
            self.set_session_cookie(response, self.session)
        return response

    def redirect(self, path: str, flash: str = "") -> Response:
        """Redirects after a POST. `#top` replaces the fragment of the form, which the browser would keep."""
        return RedirectResponse(f"{path}?flash={flash}#top" if flash else path, 303)

    def set_session_cookie(self, response: Response, session: Session) -> None:
        response.set_cookie(
            self.app.cookie,
            self.app.sessions.write(session),
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="lax",
            secure=self.app.is_https,
        )


def signed_out(request: RequestContext) -> Response:
    """Leads to the sign-in page without the cookie of the session."""
    response = request.redirect("/signin")
    response.delete_cookie(request.app.cookie, httponly=True, samesite="lax", secure=request.app.is_https)
    return response


def anyone(request: Request, app: App) -> RequestContext:
    """The context of any visitor, signed in or not."""
    session = app.sessions.read(request.cookies.get(app.cookie, "")) or app.sessions.new()
    who = None
    if session.key:
        with app.db.transaction() as tx:
            who = sessions.by_key(tx, session.key)
    if who is None:
        return RequestContext(http=request, app=app, session=session, maybe_account=None)
    return RequestContext(
        http=request,
        app=app,
        session=session,
        maybe_account=who.account,
        maybe_member=who.member,
        session_id=who.session_id,
    )


def leaving(request: Annotated[RequestContext, Depends(anyone)]) -> RequestContext:
    """A member who is signed in, also of an account that is to be deleted."""
    if request.maybe_account is None:
        raise NeedsSignIn
    return request


def signed_in(request: Annotated[RequestContext, Depends(leaving)]) -> RequestContext:
    if request.account.delete_at is not None:
        raise WillBeDeleted
    return request


def owner(request: Annotated[RequestContext, Depends(signed_in)]) -> RequestContext:
    request.require_owner()
    return request


def operator(request: Annotated[RequestContext, Depends(signed_in)]) -> RequestContext:
    if not request.account.operator:
        raise NotFound("this page does not exist")
    if request.http.method == "POST":
        route = getattr(request.http.scope.get("route"), "path", "")
        log.info("an operator acts", account=request.account_id, route=route, values=request.http.path_params)
    return request


Anyone = Annotated[RequestContext, Depends(anyone)]
SignedIn = Annotated[RequestContext, Depends(signed_in)]
Leaving = Annotated[RequestContext, Depends(leaving)]
Owner = Annotated[RequestContext, Depends(owner)]
Operator = Annotated[RequestContext, Depends(operator)]


def signin_path(request: Request) -> str:
    """The sign-in page; after a GET it leads back to the requested page."""
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return f"/signin?next={quote(path)}" if request.method == "GET" else "/signin"


def date_in(days: int) -> str:
    """The date `days` from today, in the format of a date field."""
    return (datetime.now(UTC) + timedelta(days=days)).date().isoformat()
