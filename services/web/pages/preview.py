"""The preview of the subscription in the form: a fragment for htmx, or the whole page without JavaScript."""

from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import Response

from services.errors import Busy, PaperwireError, QueryError
from services.flow.commands.preview import Preview, Sample
from services.flow.commands.preview import preview as run_preview
from services.web import subscription_form
from services.web.chart import Bar, weekly_bars
from services.web.csrf_forms import Posted
from services.web.pages import subscriptions
from services.web.request_context import RequestContext, SignedIn
from services.web.subscription_form import Fields

router = APIRouter()
MAX_SAMPLES = 6
MAX_WAIT_SECONDS = 2.0
"""For a free slot. A browser asks for a new preview while somebody types, so an old one is soon of no use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewResult:
    """A preview, an error, or neither while the form is empty."""

    result: Preview | None = None
    bars: tuple[Bar, ...] = ()
    samples: tuple[Sample, ...] = ()
    error: str = ""
    caret: str = ""
    """The query, with a mark under the error."""
    status: int = 200


@router.post("/subscriptions/preview")
def preview(request: SignedIn, form: Posted) -> Response:
    fields = subscription_form.from_form(form)
    editing = form.id("editing")
    result = _preview(request, fields, editing)
    if request.is_htmx:
        return request.render("preview.html", result.status, preview=result)
    if editing:
        return subscriptions.editing(request, editing, fields, status=result.status, preview=result)
    return subscriptions.listing(request, fields, status=result.status, preview=result)


def _preview(request: RequestContext, fields: Fields, editing: int | None) -> PreviewResult:
    if fields.asks_nothing:
        return PreviewResult()
    app = request.app
    # The matches of the subscription that is being changed would hide what the changes add.
    compare_with = None if editing else request.account_id
    try:
        with app.db.transaction() as tx:
            draft = subscription_form.draft(tx, fields)
        with app.previews.taken(request.account_id, MAX_WAIT_SECONDS):
            result = run_preview(app.slow_db, app.embedder, draft, account_id=compare_with)
    except QueryError as error:
        return PreviewResult(error=error.message, caret=error.caret())
    except Busy as error:
        return PreviewResult(error=str(error), status=429)
    except PaperwireError as error:
        return PreviewResult(error=str(error))
    bars = weekly_bars((hit.announced_on for hit in result.hits), result.until, result.days)
    return PreviewResult(result=result, bars=tuple(bars), samples=tuple(result.samples[:MAX_SAMPLES]))
