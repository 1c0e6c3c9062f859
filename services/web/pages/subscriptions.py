"""The list of subscriptions, and the buttons that pause and delete them."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter
from fastapi.responses import Response

from services.errors import ConfigError
from services.flow.commands import subscribe
from services.flow.upkeep import model_rollover
from services.store.maintenance import dashboard
from services.store.subscriptions import subscriptions
from services.web.csrf_forms import Posted
from services.web.request_context import Id, SignedIn, date_in

router = APIRouter(prefix="/subscriptions")
COUNT_WINDOW = timedelta(days=30)
"""The page shows the number of matches within this time."""
MAX_PAUSE = timedelta(days=1000)


@router.get("")
def overview_page(request: SignedIn) -> Response:
    with request.app.db.transaction() as tx:
        listed = subscriptions.list_all(tx, request.account_id)
        channels = subscriptions.channels_of(tx, [subscription.id for subscription in listed])
        counts = dashboard.match_counts(tx, request.account_id, datetime.now(UTC) - COUNT_WINDOW)
    has_interest = any(subscription.volume for subscription in listed)
    return request.render(
        "subscriptions.html",
        subscriptions=listed,
        channels=channels,
        counts=counts,
        pause_until=date_in(7),
        embedder_status=model_rollover.status_lines(request.app.db, request.app.settings) if has_interest else [],
    )


@router.post("/{subscription_id}/pause")
def pause(request: SignedIn, form: Posted, subscription_id: Id) -> Response:
    day = form.text("until")
    _check_pause_end(day, request.account.timezone)
    subscribe.pause(request.app.db, subscription_id, day, request.account_id)
    return request.redirect("/subscriptions", "paused")


@router.post("/{subscription_id}/resume")
def resume(request: SignedIn, form: Posted, subscription_id: Id) -> Response:
    subscribe.resume(request.app.db, subscription_id, request.account_id)
    return request.redirect("/subscriptions", "resumed")


@router.get("/{subscription_id}/delete")
def confirm_delete(request: SignedIn, subscription_id: Id) -> Response:
    with request.app.db.transaction() as tx:
        row = subscriptions.find(tx, subscription_id, request.account_id)
    return request.render(
        "confirm.html",
        question=f"Delete the subscription “{row.name}”?",
        consequence="Nothing more is matched for it, and its matches leave your pages. What was sent stays on record.",
        label="Delete",
        back="/subscriptions",
    )


@router.post("/{subscription_id}/delete")
def delete(request: SignedIn, form: Posted, subscription_id: Id) -> Response:
    with request.app.db.transaction() as tx:
        subscriptions.remove(tx, subscription_id, request.account_id)
    return request.redirect("/subscriptions", "deleted")


def _check_pause_end(day: str, timezone: str) -> None:
    """Raises ConfigError for a day that has begun or is far off, which is likely a typing error."""
    now = datetime.now(UTC)
    if day and not now < subscribe.start_of(day, timezone) < now + MAX_PAUSE:
        raise ConfigError("a pause ends on a day from tomorrow to 1,000 days ahead")
