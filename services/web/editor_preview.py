"""The right column of the editor: what is shown of the papers, and what its buttons do to the form."""

from dataclasses import dataclass, replace
from datetime import date

from services.errors import Busy, ConfigError, NotFound, PaperwireError, QueryError
from services.flow.commands.preview import Preview
from services.flow.commands.preview import preview as run_preview
from services.web import subscription_form
from services.web.chart import Bar, weekly_bars
from services.web.context import AppContext
from services.web.csrf_forms import Form
from services.web.formatting import plural
from services.web.request_context import RequestContext
from services.web.subscription_form import Fields

MAX_WAIT_SECONDS = 2.0
"""For a free slot. A browser asks for a new preview while somebody types, so an old one is soon of no use."""
DAYS = (30, 60, 365)
PAGE_SIZE = 10
"""Papers shown at first."""
MORE_SIZE = 25
"""Papers that “more” adds."""
MAX_SHOWN = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the right column shows. The form carries it in hidden fields."""

    days: int = 60
    shown: int = PAGE_SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPreview:
    """A preview, an error, or neither while the form is empty."""

    result: Preview | None = None
    bars: tuple[Bar, ...] = ()
    failure: PaperwireError | None = None
    status: int = 200

    @property
    def error(self) -> str:
        return self.failure.message if isinstance(self.failure, QueryError) else str(self.failure or "")

    @property
    def caret(self) -> str:
        """The query, with a mark under the error."""
        return self.failure.caret() if isinstance(self.failure, QueryError) else ""

    @property
    def name(self) -> str:
        """The name that the subscription gets by itself."""
        return self.result.draft.name if self.result else ""

    @property
    def figure(self) -> str:
        """`5.2 a week`."""
        return f"{self.result.per_week} a week" if self.result else ""


def view(form: Form) -> View:
    """What the hidden fields of the form say. A value out of range is replaced."""
    days, shown = form.text("days"), form.text("shown")
    return View(
        days=int(days) if days in map(str, DAYS) else View().days,
        shown=min(MAX_SHOWN, int(shown)) if shown.isascii() and shown.isdigit() and len(shown) < 5 else PAGE_SIZE,
    )


def act(app: AppContext, fields: Fields, view: View, do: str) -> tuple[Fields, View]:
    """The form and the view after a button of the editor: its value is `verb:argument`. Unknown ones do nothing."""
    verb, _, argument = do.partition(":")
    match verb:
        case "days" if argument in map(str, DAYS):
            return fields, replace(view, days=int(argument), shown=PAGE_SIZE)
        case "more":
            return fields, replace(view, shown=min(MAX_SHOWN, view.shown + MORE_SIZE))
        case "like" | "dislike" | "unvote" if argument.isascii() and argument.isdigit() and len(argument) < 19:
            return _voted(app, fields, int(argument), verb), view
    return fields, view


def _voted(app: AppContext, fields: Fields, paper_id: int, verb: str) -> Fields:
    """The form with a paper as an example, or without it."""
    try:
        with app.db.transaction() as tx:
            return subscription_form.with_example(
                tx, fields, paper_id, {"like": True, "dislike": False, "unvote": None}[verb]
            )
    except ConfigError:  # The form names a paper that does not exist; its preview says so.
        return fields


def run(request: RequestContext, fields: Fields, view: View, editing: int | None) -> ShownPreview:
    if fields.asks_nothing:
        return ShownPreview()
    app = request.app
    # The matches of the subscription that is being changed would hide what the changes add.
    compare_with = None if editing else request.account_id
    try:
        with app.db.transaction() as tx:
            draft = subscription_form.draft(tx, fields)
        with app.previews.taken(request.account_id, MAX_WAIT_SECONDS):
            result = run_preview(
                app.slow_db, app.embedder, draft, days=view.days, account_id=compare_with, shown=view.shown
            )
    except Busy as error:
        return ShownPreview(failure=error, status=429)
    except NotFound as error:  # A liked paper that was deleted meanwhile; the page for a wrong address would not help.
        return ShownPreview(failure=ConfigError(str(error), field="liked"))
    except PaperwireError as error:
        return ShownPreview(failure=error)
    bars = weekly_bars((hit.announced_on for hit in result.hits), result.until, result.days)
    return ShownPreview(result=result, bars=tuple(bars))


def paper_count(count: int, last: date | None) -> str:
    """`8 papers, the last on 3 Sep`."""
    return plural(count, "paper") + (f", the last on {last.day} {last:%b}" if last else "")
