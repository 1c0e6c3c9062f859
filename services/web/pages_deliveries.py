"""What was sent, what became of it, and another try for what failed."""

from fastapi import APIRouter
from fastapi.responses import Response

from services.errors import NotFound
from services.flow import by_hand
from services.store import deliveries, overview, papers
from services.web.forms import Posted
from services.web.visit import Id, SignedIn

router = APIRouter(prefix="/deliveries")
SHOWN = 100


@router.get("")
def page(visit: SignedIn) -> Response:
    with visit.house.db.transaction() as tx:
        found = deliveries.all_of(tx, visit.account_id, limit=SHOWN)
    return visit.page("deliveries.html", deliveries=found, shown=SHOWN, may_retry=by_hand.may_retry)


@router.get("/{delivery_id}")
def one(visit: SignedIn, delivery_id: Id) -> Response:
    with visit.house.db.transaction() as tx:
        row = overview.delivery_of(tx, visit.account_id, delivery_id)
        if row is None:
            raise NotFound(f"no delivery {delivery_id}")
        ids = deliveries.paper_ids(tx, delivery_id)
        loaded = papers.load(tx, ids)
    return visit.page("delivery.html", delivery=row, papers=[loaded[one] for one in ids if one in loaded])


@router.post("/{delivery_id}/retry")
def retry(visit: SignedIn, form: Posted, delivery_id: Id) -> Response:
    by_hand.retry(visit.house.db, delivery_id, visit.account_id)
    return visit.go("/deliveries", "retrying")
