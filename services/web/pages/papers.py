"""One paper: its contents, why it matched, and on request every step to one subscription."""

from datetime import UTC, datetime
from functools import partial
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from fastapi.responses import Response

from services.domain.papers import identifiers
from services.errors import NotFound
from services.flow.commands.explain import explain
from services.store.maintenance import dashboard
from services.store.papers import appearances, papers
from services.store.subscriptions import subscriptions
from services.web import formatting
from services.web.pages import search
from services.web.request_context import SignedIn
from services.web.subscription_form import find_paper

router = APIRouter()


@router.get("/papers/{name:path}")
def paper(request: SignedIn, name: str, subscription: Annotated[int | None, Query(ge=1, lt=2**63)] = None) -> Response:
    app, account_id = request.app, request.account_id
    with app.db.transaction() as tx:
        try:
            paper_id = find_paper(tx, name)
        except NotFound:
            recognised = identifiers.recognise(name)
            if recognised is None:
                raise
            return search.unknown(request, recognised)
        loaded = papers.load(tx, [paper_id]).get(paper_id)
        if loaded is None:
            raise NotFound(f"no paper {name[:60]!r} in the archive")
        reasons = dashboard.reasons(tx, account_id, [paper_id]).get(paper_id, [])
        places = appearances.of_paper(tx, paper_id)
        own = subscriptions.list_all(tx, account_id)
        explained = subscriptions.find(tx, subscription, account_id) if subscription else None
    steps = []
    if explained:
        zone, now = ZoneInfo(request.account.timezone), datetime.now(UTC)
        when = partial(formatting.local, zone=zone, now=now)
        steps = explain(app.db, app.embedder, str(paper_id), explained.id, account_id, when)
    return request.render(
        "paper.html", paper=loaded, reasons=reasons, places=places, subscriptions=own, explained=explained, steps=steps
    )
