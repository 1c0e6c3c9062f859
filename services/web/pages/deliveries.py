"""What was sent, what became of it, and another try of a failed delivery."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from services import plugins
from services.domain.delivery.state_machine import DeliveryKind
from services.errors import NotFound
from services.flow.commands import resend
from services.store.delivery import bounces, deliveries, items, sending_pause
from services.store.delivery.records import DeliveryPage
from services.store.papers import papers
from services.web.csrf_forms import Posted
from services.web.page import Id, SignedIn
from services.web.security_headers import MAIL_POLICY

router = APIRouter(prefix="/deliveries")
MAX_LISTED = 100
# A question whether an address opts in is left out: its link is for the owner of the address alone.
KINDS_WITH_PREVIEW = frozenset(
    {DeliveryKind.MESSAGE, DeliveryKind.DIGEST, DeliveryKind.THREAD, DeliveryKind.UPDATE, DeliveryKind.TEST}
)


@router.get("")
def page(visit: SignedIn) -> Response:
    with visit.house.db.transaction() as tx:
        listed = deliveries.list_all(tx, visit.account_id, limit=MAX_LISTED)
        pause = sending_pause.status(tx)
        waiting = sending_pause.waiting(tx, visit.house.db.now(tx), visit.account_id) if pause["paused_because"] else []
        mailbox_error = bounces.why_unreadable(tx) if visit.account["operator"] else ""
    return visit.page(
        "deliveries.html",
        deliveries=listed,
        max_listed=MAX_LISTED,
        waiting=waiting,
        mailbox_error=mailbox_error,
        **pause,
    )


@router.get("/{delivery_id}")
def one(visit: SignedIn, delivery_id: Id) -> Response:
    with visit.house.db.transaction() as tx:
        delivery = deliveries.for_page(tx, visit.account_id, delivery_id)
        ids = items.paper_ids(tx, delivery_id)
        known = papers.load(tx, ids)
    listed = [known[paper_id] for paper_id in ids if paper_id in known]
    return visit.page("delivery.html", delivery=delivery, papers=listed, has_preview=_has_preview(delivery))


@router.get("/{delivery_id}/message")
def message(visit: SignedIn, delivery_id: Id) -> Response:
    """The message as its receiver sees it, for a sandboxed frame; its links open in a new tab."""
    with visit.house.db.transaction() as tx:
        delivery = deliveries.for_page(tx, visit.account_id, delivery_id)
    if delivery.rendered is None or not _has_preview(delivery):
        raise NotFound(f"delivery {delivery_id} has no message to show")
    html = plugins.notifier(delivery.channel_kind).preview(delivery.rendered)
    html = html.replace("<head>", '<head><base target="_blank">', 1)
    return HTMLResponse(html, headers={"Content-Security-Policy": MAIL_POLICY})


def _has_preview(delivery: DeliveryPage) -> bool:
    return delivery.rendered is not None and delivery.kind in KINDS_WITH_PREVIEW


@router.post("/{delivery_id}/retry")
def retry(visit: SignedIn, form: Posted, delivery_id: Id) -> Response:
    resend.retry(visit.house.db, delivery_id, visit.account_id)
    return visit.go("/deliveries", "retrying")
