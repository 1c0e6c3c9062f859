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
from services.web.page import Id, RequestContext, SignedIn
from services.web.security_headers import MAIL_POLICY

router = APIRouter(prefix="/deliveries")
SHOWN = 100
SHOWABLE = ("message", "digest", "thread", "update", "test")


@router.get("")
def page(visit: SignedIn) -> Response:
    with visit.house.db.transaction() as tx:
        found, held = deliveries.all_of(tx, visit.account_id, limit=SHOWN), sending_pause.status(tx)
        waiting = (
            sending_pause.waiting_papers(tx, visit.house.db.now(tx), visit.account_id) if held["paused_because"] else []
        )
        unread = bounces.mailbox_failure(tx) if visit.account["operator"] else ""
    held |= {"waiting": waiting, "unread": unread}
    return visit.page("deliveries.html", deliveries=found, shown=SHOWN, may_retry=resend.can_retry, **held)


@router.get("/{delivery_id}")
def one(visit: SignedIn, delivery_id: Id) -> Response:
    with visit.house.db.transaction() as tx:
        row = _own(tx, visit, delivery_id)
        ids = deliveries.paper_ids(tx, delivery_id)
        loaded = papers.load(tx, ids)
    found = [loaded[one] for one in ids if one in loaded]
    return visit.page("delivery.html", delivery=row, papers=found, shown=_may_be_shown(row))


@router.get("/{delivery_id}/message")
def message(visit: SignedIn, delivery_id: Id) -> Response:
    """The message itself, as its receiver sees it, for a frame that runs nothing; its links open beside it."""
    with visit.house.db.transaction() as tx:
        row = _own(tx, visit, delivery_id)
    if not _may_be_shown(row):
        raise NotFound(f"delivery {delivery_id} has no message to show")
    html = plugins.notifier(row["channel_kind"]).preview(bytes(row["rendered"]))
    html = html.replace("<head>", '<head><base target="_blank">', 1)
    return HTMLResponse(html, headers={"Content-Security-Policy": MAIL_POLICY})


def _own(tx: Connection, visit: RequestContext, delivery_id: int) -> Row:
    row = dashboard.delivery_of(tx, visit.account_id, delivery_id)
    if row is None:
        raise NotFound(f"no delivery {delivery_id}")
    return row


def _may_be_shown(row: Row) -> bool:
    """Not what asks an address whether it agrees: its link is for the address's owner alone."""
    return row["rendered"] is not None and row["kind"] in SHOWABLE


@router.post("/{delivery_id}/retry")
def retry(visit: SignedIn, form: Posted, delivery_id: Id) -> Response:
    resend.retry(visit.house.db, delivery_id, visit.account_id)
    return visit.go("/deliveries", "retrying")
