"""What the subscription in the form would have brought: a fragment that htmx puts beside it, or the page anew."""

from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import Response

from services.errors import PaperwireError, QueryError
from services.flow.commands.preview import Preview, Sample
from services.flow.commands.preview import preview as run_preview
from services.web import subscription_form
from services.web.chart import Bar, weekly_bars
from services.web.csrf_forms import Posted
from services.web.page import RequestContext, SignedIn
from services.web.pages import subscriptions
from services.web.subscription_form import Fields

router = APIRouter()
SAMPLES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewResult:
    """The outcome: nothing asked yet, an error (with the query's caret), or the preview."""

    result: Preview | None = None
    bars: tuple[Bar, ...] = ()
    samples: tuple[Sample, ...] = ()
    error: str = ""
    caret: str = ""


@router.post("/subscriptions/preview")
def preview(visit: SignedIn, form: Posted) -> Response:
    fields = subscription_form.from_form(form)
    editing = form.number("editing") or None
    shown = _shown(visit, fields, editing)
    if visit.by_htmx:
        return visit.page("preview.html", preview=shown)
    if editing:
        return subscriptions.editing(visit, editing, fields, preview=shown)
    return subscriptions.listing(visit, fields, preview=shown)


def _shown(visit: RequestContext, fields: Fields, editing: int | None) -> PreviewResult:
    if fields.asks_nothing:
        return PreviewResult()
    house = visit.house
    # One that is being changed has matches of its own, which would hide what it adds.
    against = None if editing else visit.account_id
    try:
        with house.db.transaction() as tx:
            draft = subscription_form.draft(tx, fields)
        with house.previews:
            result = run_preview(house.patient, house.embedder, draft, account_id=against)
    except QueryError as error:
        return PreviewResult(error=error.message, caret=error.caret())
    except PaperwireError as error:
        return PreviewResult(error=str(error))
    bars = weekly_bars((hit.announced_on for hit in result.found), result.until, result.days)
    return PreviewResult(result=result, bars=tuple(bars), samples=tuple(result.samples[:SAMPLES]))
