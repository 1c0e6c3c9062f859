"""The pages behind the links in mails. They need no sign-in and set no cookie.

Link scanners open every link of a mail, so GET only shows a button. POST is the one-click unsubscribing of RFC 8058: it
needs no form token and no cookie, does not redirect, accepts any body, and may be repeated.
"""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from services import render
from services.errors import NotFound
from services.flow import opt_in_links, refusal_links
from services.flow.commands import opt_in
from services.store.accounts import members
from services.store.db import change_log
from services.store.delivery import opt_in as suppressed
from services.web.context import App

router = APIRouter()


@router.get("/unsubscribe/{token}")
def ask_unsubscribe(app: App, token: str) -> Response:
    with app.db.transaction() as tx:
        channel = opt_in_links.by_unsubscribe_token(tx, app.secrets, token)
    done = bool(channel.unsubscribed_at or channel.deleted_at)
    return _page("unsubscribe.html", label=channel.label, done=done)


@router.post("/unsubscribe/{token}")
def unsubscribe(http: Request, app: App, token: str) -> Response:
    with change_log.acting(_by_link(http)):
        channel = opt_in.unsubscribe(app.db, app.secrets, token)
    return _page("unsubscribe.html", label=channel.label, done=True)


@router.get("/confirm/{token}")
def ask_confirm(app: App, token: str) -> Response:
    with app.db.transaction() as tx:
        channel = opt_in_links.by_confirm_token(tx, app.secrets, token, app.db.now())
    return _page("address_confirmed.html", channel=channel, done=channel.verified)


@router.post("/confirm/{token}")
def confirm(http: Request, app: App, token: str) -> Response:
    with change_log.acting(_by_link(http)):
        channel = opt_in.confirm(app.db, app.secrets, token)
    return _page("address_confirmed.html", channel=channel, done=True)


@router.get("/refuse/{token}")
def ask_refuse(app: App, token: str) -> Response:
    return _page("refuse.html", address=refusal_links.address_of(app.secrets, token), done=False)


@router.post("/refuse/{token}")
def refuse(app: App, token: str) -> Response:
    """Stops invitations, sign-up links and opt-in requests to an address of which nobody here is the owner."""
    address = refusal_links.address_of(app.secrets, token)
    with app.db.transaction() as tx:
        if members.find(tx, address) is not None:
            raise NotFound("this address signs in here now; unsubscribe or delete the account on the pages")
        suppressed.suppress(tx, address, suppressed.REFUSED, refused=True)
    return _page("refuse.html", address=address, done=True)


def _by_link(http: Request) -> change_log.Actor:
    """Whoever has the link, whose name is not known."""
    return change_log.Actor("a link in a message", ip=http.client.host if http.client else "")


def _page(template: str, **context: object) -> Response:
    # The page's address contains the secret token, so it must not reach other sites.
    headers = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}
    return HTMLResponse(render.render(f"web/{template}", **context), headers=headers)
