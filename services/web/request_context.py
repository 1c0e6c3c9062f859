"""One request of one person: what a handler gets, and how it answers with a page."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from fastapi import Depends, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from services import render
from services.errors import NotFound
from services.store.accounts import accounts
from services.store.db.database import Row
from services.web import formatting
from services.web.auth import COOKIE, SESSION_SECONDS, Session
from services.web.context import App, AppContext

Id = Annotated[int, Path(ge=1, lt=2**63)]
FLASH_MESSAGES = {
    "saved": "Saved.",
    "created": "Subscribed. New papers that match will reach you from now on.",
    "readdressed": "The feed has a new address; the old one answers no more.",
    "deleted": "Deleted.",
    "removed": "Removed.",
    "paused": "Paused. What matches meanwhile waits for the end of the pause.",
    "silenced": "Silenced. What it covers is dropped until then.",
    "ended": "The silence has ended.",
    "resumed": "The subscription goes on.",
    "polling": "The poll is under way; this page shows its outcome once it is in.",
    "added": "Added.",
    "asked": "A mail asks that address whether it wants this; nothing else goes there before. "
    "Nobody is asked more than once an hour and three times a day.",
    "address": "Saved. Mails go to the new address once its owner has followed the link in the one that asks.",
    "subscribed": "Subscribed again. What matches from now on is sent there.",
    "enabled": "Enabled. What has waited is sent now.",
    "testing": "A test message is on its way; see Deliveries for what became of it.",
    "retrying": "It is tried again now.",
    "released": "Put back. It is embedded and matched again now.",
}
"""What a redirect may say on the next page, by the word in its address: nobody can put words of theirs there."""


class NeedsSignIn(Exception):
    """Nobody is signed in, and this page is somebody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    http: Request
    app: AppContext
    session: Session
    maybe_account: Row | None
    """The account that is signed in, if one is."""

    @property
    def account(self) -> Row:
        assert self.maybe_account is not None, "only the sign-in pages do without an account"
        return self.maybe_account

    @property
    def account_id(self) -> int:
        return int(self.account["id"])

    @property
    def ip(self) -> str:
        return self.http.client.host if self.http.client else ""

    @property
    def is_htmx(self) -> bool:
        return self.http.headers.get("HX-Request") == "true"

    def render(self, template: str, status: int = 200, **context: Any) -> HTMLResponse:
        zone = ZoneInfo(self.maybe_account["timezone"]) if self.maybe_account else UTC
        now = datetime.now(UTC)
        html = render.render(
            f"web/{template}",
            account=self.maybe_account,
            token=self.app.sessions.form_token(self.session),
            here=self.http.url.path,
            flash=FLASH_MESSAGES.get(self.http.query_params.get("flash", ""), ""),
            now=now,
            local=lambda moment: formatting.local(moment, zone, now),
            ago=lambda moment: formatting.distance(moment, now),
            **context,
        )
        response = HTMLResponse(html, status)
        # Forms carry the session's token, so whoever gets one needs the session.
        if COOKIE not in self.http.cookies or self.app.sessions.read(self.http.cookies[COOKIE]) is None:
            self.set_session_cookie(response, self.session)
        return response

    def redirect(self, path: str, flash: str = "") -> Response:
        """To another page after a step was taken; its top, since a form's fragment would stay in the address."""
        return RedirectResponse(f"{path}?flash={flash}#top" if flash else path, 303)

    def set_session_cookie(self, response: Response, session: Session) -> None:
        response.set_cookie(
            COOKIE,
            self.app.sessions.write(session),
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="lax",
            secure=self.app.secure,
        )


def anyone(request: Request, app: App) -> RequestContext:
    """Whoever comes, signed in or not."""
    session = app.sessions.read(request.cookies.get(COOKIE, "")) or app.sessions.new()
    account = None
    if session.account_id is not None:
        with app.db.transaction() as tx:
            account = accounts.by_id(tx, session.account_id)
    return RequestContext(http=request, app=app, session=session, maybe_account=account)


def signed_in(request: Annotated[RequestContext, Depends(anyone)]) -> RequestContext:
    if request.maybe_account is None:
        raise NeedsSignIn
    return request


def operator(request: Annotated[RequestContext, Depends(signed_in)]) -> RequestContext:
    if not request.account["operator"]:
        raise NotFound("there is no such page")
    return request


Anyone = Annotated[RequestContext, Depends(anyone)]
SignedIn = Annotated[RequestContext, Depends(signed_in)]
Operator = Annotated[RequestContext, Depends(operator)]


def signin_path(request: Request) -> str:
    """Where to sign in, and back: to the page asked for, or the one that a form stood on."""
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return f"/signin?next={quote(path)}" if request.method == "GET" else "/signin"


def date_in(days: int) -> str:
    """A day from now, as a date field takes it."""
    return (datetime.now(UTC) + timedelta(days=days)).date().isoformat()
