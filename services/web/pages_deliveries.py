"""What was sent, what became of it, and another try for what failed."""

from fastapi import APIRouter
from fastapi.responses import Response

from services.domain import delivery as domain
from services.domain.delivery import State
from services.errors import Conflict, NotFound
from services.store import deliveries, overview, papers
from services.store.database import Row, wake
from services.web.forms import Posted
from services.web.visit import Id, SignedIn

router = APIRouter(prefix="/deliveries")
SHOWN = 100


@router.get("")
def page(visit: SignedIn) -> Response:
    with visit.house.db.transaction() as tx:
        found = deliveries.all_of(tx, visit.account_id, limit=SHOWN)
    return visit.page("deliveries.html", deliveries=found, shown=SHOWN, may_retry=may_retry)


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
    with visit.house.db.transaction() as tx:
        row = deliveries.lock_one(tx, delivery_id, visit.account_id)
        if not may_retry(row):
            raise Conflict(f"delivery {delivery_id} is {row['state']}; only what failed for good is tried again")
        deliveries.set_state(tx, delivery_id, domain.replay(deliveries.state_of(row), visit.house.db.now()))
        wake(tx, "deliver")
    return visit.go("/deliveries", "retrying")


def may_retry(row: Row) -> bool:
    """Dead, or in doubt with its one resend spent: nothing happens to it any more without a person."""
    return row["state"] == State.DEAD or (row["state"] == State.UNCERTAIN and row["next_attempt_at"] is None)
