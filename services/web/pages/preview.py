"""What the subscription in the form would have brought: a fragment that htmx puts beside it, or the page anew."""

from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import Response

from services.errors import PaperwireError, QueryError
from services.flow.commands.preview import Preview
from services.flow.commands.preview import Shown as Sample
from services.flow.commands.preview import preview as run_preview
from services.web import subscription_form
from services.web.chart import Bar, weeks
from services.web.csrf_forms import Posted
from services.web.pages import subscriptions
from services.web.request_context import RequestContext, SignedIn
from services.web.subscription_form import Fields

router = APIRouter()
SAMPLES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The outcome: nothing asked yet, an error (with the query's caret), or the preview."""

    result: Preview | None = None
    bars: tuple[Bar, ...] = ()
    samples: tuple[Sample, ...] = ()
    error: str = ""
    caret: str = ""


@router.post("/subscriptions/preview")
def preview(request: SignedIn, form: Posted) -> Response:
    fields = subscription_form.of_form(form)
    editing = form.number("editing") or None
    shown = _shown(request, fields, editing)
    if request.is_htmx:
        return request.render("preview.html", preview=shown)
    if editing:
        return subscriptions.editing(request, editing, fields, preview=shown)
    return subscriptions.listing(request, fields, preview=shown)


def _shown(request: RequestContext, fields: Fields, editing: int | None) -> Shown:
    if fields.asks_nothing:
        return Shown()
    app = request.app
    # One that is being changed has matches of its own, which would hide what it adds.
    against = None if editing else request.account_id
    try:
        with app.db.transaction() as tx:
            draft = subscription_form.draft(tx, fields)
        with app.previews:
            result = run_preview(app.slow_db, app.embedder, draft, account_id=against)
    except QueryError as error:
        return Shown(error=error.message, caret=error.caret())
    except PaperwireError as error:
        return Shown(error=str(error))
    bars = weeks((hit.announced_on for hit in result.found), result.until, result.days)
    return Shown(result=result, bars=tuple(bars), samples=tuple(result.samples[:SAMPLES]))
