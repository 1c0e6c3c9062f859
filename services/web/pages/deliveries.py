"""Deliveries with their outcomes, and another try of a failed delivery."""

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
from services.web.request_context import Id, SignedIn
from services.web.security_headers import MAIL_POLICY

router = APIRouter(prefix="/deliveries")
MAX_LISTED = 100
# An opt-in request is left out: its link is only for the owner of the address.
KINDS_WITH_PREVIEW = frozenset(
    {DeliveryKind.MESSAGE, DeliveryKind.DIGEST, DeliveryKind.THREAD, DeliveryKind.UPDATE, DeliveryKind.TEST}
)


@router.get("")
def page(request: SignedIn) -> Response:
    with request.app.db.transaction() as tx:
        listed = deliveries.list_all(tx, request.account_id, limit=MAX_LISTED)
        pause, waiting = sending_pause.status(tx), []
        if pause.paused_because:
            waiting = sending_pause.waiting_papers(tx, request.app.db.now(tx), request.account_id)
        mailbox_error = bounces.mailbox_failure(tx) if request.account.operator else ""
    return request.render(
        "deliveries.html",
        deliveries=listed,
        max_listed=MAX_LISTED,
        waiting=waiting,
        mailbox_error=mailbox_error,
        pause=pause,
    )


@router.get("/{delivery_id}")
def show(request: SignedIn, delivery_id: Id) -> Response:
    with request.app.db.transaction() as tx:
        delivery = deliveries.for_page(tx, request.account_id, delivery_id)
        ids = items.paper_ids(tx, delivery_id)
        known = papers.load(tx, ids)
    listed = [known[paper_id] for paper_id in ids if paper_id in known]
    return request.render("delivery.html", delivery=delivery, papers=listed, has_preview=_has_preview(delivery))


@router.get("/{delivery_id}/message")
def message(request: SignedIn, delivery_id: Id) -> Response:
    """The message as its receiver sees it, for a sandboxed frame; its links open in a new tab."""
    with request.app.db.transaction() as tx:
        delivery = deliveries.for_page(tx, request.account_id, delivery_id)
    if delivery.rendered is None or not _has_preview(delivery):
        raise NotFound(f"delivery {delivery_id} has no message to show")
    html = plugins.notifier(delivery.channel_kind).preview(delivery.rendered)
    html = html.replace("<head>", '<head><base target="_blank">', 1)
    return HTMLResponse(html, headers={"Content-Security-Policy": MAIL_POLICY})


def _has_preview(delivery: DeliveryPage) -> bool:
    return delivery.rendered is not None and delivery.kind in KINDS_WITH_PREVIEW


@router.post("/{delivery_id}/retry")
def retry(request: SignedIn, form: Posted, delivery_id: Id) -> Response:
    resend.retry(request.app.db, delivery_id, request.account_id)
    return request.redirect("/deliveries", "retrying")
