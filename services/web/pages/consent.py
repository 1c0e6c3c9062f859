"""What the links in mails open: pages that need no sign-in, set no cookie, and do nothing until a button is pressed.

Scanners open every link of a mail, so GET only asks. POST is what RFC 8058 calls one-click: no token of a form, no
cookie, no redirect, any body, and as often as a mail program likes.
"""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from services import render
from services.flow.commands import opt_in as flow
from services.store.delivery import opt_in
from services.web.context import App

router = APIRouter()


@router.get("/unsubscribe/{token}")
def ask_unsubscribe(app: App, token: str) -> Response:
    with app.db.transaction() as tx:
        row = opt_in.by_unsubscribe_token(tx, app.secrets, token)
    done = bool(row["unsubscribed_at"] or row["deleted_at"])
    return _page("unsubscribe.html", label=row["label"], done=done)


@router.post("/unsubscribe/{token}")
def unsubscribe(app: App, token: str) -> Response:
    row = flow.unsubscribe(app.db, app.secrets, token)
    return _page("unsubscribe.html", label=row["label"], done=True)


@router.get("/confirm/{token}")
def ask_confirm(app: App, token: str) -> Response:
    with app.db.transaction() as tx:
        row = opt_in.by_confirm_token(tx, app.secrets, token, app.db.now())
    return _page("address_confirmed.html", label=row["label"], done=row["verified"])


@router.post("/confirm/{token}")
def confirm(app: App, token: str) -> Response:
    row = flow.confirm(app.db, app.secrets, token)
    return _page("address_confirmed.html", label=row["label"], done=True)


def _page(template: str, **context: object) -> Response:
    # The address of the page is the secret.
    headers = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}
    return HTMLResponse(render.render(f"web/{template}", **context), headers=headers)
