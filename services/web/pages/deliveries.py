"""What was sent, what became of it, and another try for what failed."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import Connection

from services import plugins
from services.errors import NotFound
from services.flow.commands import resend
from services.store.db.database import Row
from services.store.delivery import bounces, deliveries, sending_pause
from services.store.maintenance import dashboard
from services.store.papers import papers
from services.web.csrf_forms import Posted
from services.web.request_context import Id, RequestContext, SignedIn
from services.web.security_headers import MAIL_POLICY

router = APIRouter(prefix="/deliveries")
SHOWN = 100
SHOWABLE = ("message", "digest", "thread", "update", "test")


@router.get("")
def page(request: SignedIn) -> Response:
    with request.app.db.transaction() as tx:
        found, held = deliveries.all_of(tx, request.account_id, limit=SHOWN), sending_pause.status(tx)
        waiting = (
            sending_pause.waiting(tx, request.app.db.now(tx), request.account_id) if held["paused_because"] else []
        )
        unread = bounces.why_unreadable(tx) if request.account["operator"] else ""
    held |= {"waiting": waiting, "unread": unread}
    return request.render("deliveries.html", deliveries=found, shown=SHOWN, may_retry=resend.may_retry, **held)


@router.get("/{delivery_id}")
def one(request: SignedIn, delivery_id: Id) -> Response:
    with request.app.db.transaction() as tx:
        row = _own(tx, request, delivery_id)
        ids = deliveries.paper_ids(tx, delivery_id)
        loaded = papers.load(tx, ids)
    found = [loaded[one] for one in ids if one in loaded]
    return request.render("delivery.html", delivery=row, papers=found, shown=_may_be_shown(row))


@router.get("/{delivery_id}/message")
def message(request: SignedIn, delivery_id: Id) -> Response:
    """The message itself, as its receiver sees it, for a frame that runs nothing; its links open beside it."""
    with request.app.db.transaction() as tx:
        row = _own(tx, request, delivery_id)
    if not _may_be_shown(row):
        raise NotFound(f"delivery {delivery_id} has no message to show")
    html = plugins.notifier(row["channel_kind"]).preview(bytes(row["rendered"]))
    html = html.replace("<head>", '<head><base target="_blank">', 1)
    return HTMLResponse(html, headers={"Content-Security-Policy": MAIL_POLICY})


def _own(tx: Connection, request: RequestContext, delivery_id: int) -> Row:
    row = dashboard.delivery_of(tx, request.account_id, delivery_id)
    if row is None:
        raise NotFound(f"no delivery {delivery_id}")
    return row


def _may_be_shown(row: Row) -> bool:
    """Not what asks an address whether it agrees: its link is for the address's owner alone."""
    return row["rendered"] is not None and row["kind"] in SHOWABLE


@router.post("/{delivery_id}/retry")
def retry(request: SignedIn, form: Posted, delivery_id: Id) -> Response:
    resend.retry(request.app.db, delivery_id, request.account_id)
    return request.redirect("/deliveries", "retrying")
