"""What the links in mails open: pages that need no sign-in, set no cookie, and do nothing until a button is pressed.

Scanners open every link of a mail, so GET only asks. POST is what RFC 8058 calls one-click: no token of a form, no
cookie, no redirect, any body, and as often as a mail program likes.
"""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from services import render
from services.flow import opt_in_links
from services.flow.commands import opt_in as flow
from services.web.context import AppContext

router = APIRouter()


@router.get("/unsubscribe/{token}")
def ask_unsubscribe(request: Request, token: str) -> Response:
    house: AppContext = request.app.state.house
    with house.db.transaction() as tx:
        row = opt_in_links.by_unsubscribe_token(tx, house.secrets, token)
    done = bool(row["unsubscribed_at"] or row["deleted_at"])
    return _page("unsubscribe.html", label=row["label"], done=done)


@router.post("/unsubscribe/{token}")
def unsubscribe(request: Request, token: str) -> Response:
    house: AppContext = request.app.state.house
    row = flow.unsubscribe(house.db, house.secrets, token)
    return _page("unsubscribe.html", label=row["label"], done=True)


@router.get("/confirm/{token}")
def ask_confirm(request: Request, token: str) -> Response:
    house: AppContext = request.app.state.house
    with house.db.transaction() as tx:
        row = opt_in_links.by_confirm_token(tx, house.secrets, token, house.db.now())
    return _page("address_confirmed.html", label=row["label"], done=row["verified"])


@router.post("/confirm/{token}")
def confirm(request: Request, token: str) -> Response:
    house: AppContext = request.app.state.house
    row = flow.confirm(house.db, house.secrets, token)
    return _page("address_confirmed.html", label=row["label"], done=True)


def _page(template: str, **context: object) -> Response:
    # The address of the page is the secret.
    headers = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}
    return HTMLResponse(render.render(f"web/{template}", **context), headers=headers)
