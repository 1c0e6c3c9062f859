"""The right column of the editor: what is shown of the papers, and what its buttons do to the form."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date

from psycopg.errors import QueryCanceled
from sqlalchemy.exc import OperationalError

from services.domain.digests.trial import Trial
from services.errors import Busy, ConfigError, NotFound, PaperwireError, QueryError
from services.flow.commands import channels, resend
from services.flow.commands.preview import TABS, Preview
from services.flow.commands.preview import preview as run_preview
from services.flow.commands.preview.advice import Mend, what_to_look_for
from services.web import subscription_form
from services.web.chart import Bar, ScoreChart, score_chart, weekly_bars
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
MAX_REMEMBERED = 1_000
"""Papers whose numbers the form carries, so that a vote can say what it changed."""
EXAMPLES = {"like": True, "dislike": False, "unvote": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the right column shows. The form carries it in hidden fields."""

    days: int = 60
    shown: int = PAGE_SIZE
    tab: str = "all"
    seen: str = ""
    """The numbers of the papers that the last preview brought."""
    began: str = ""
    """The numbers of the papers before the first vote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPreview:
    """A preview, an error, or neither while the form is empty."""

    result: Preview | None = None
    bars: tuple[Bar, ...] = ()
    scores: ScoreChart | None = None
    seen: str = ""
    change: str = ""
    """`+3 −2`: the papers that came and went since the first vote."""
    failure: PaperwireError | None = None
    mends: tuple[Mend, ...] = ()
    """Changes after which the query is valid."""
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
        """How many papers come, in a few words."""
        return figure(self.result) if self.result else ""


def figure(result: Preview) -> str:
    """`about 5.2 a week`, `8 papers, the last on 3 Sep`, `still indexing: 4,788 of 6,120 papers ready`."""
    count, last = len(result.hits), result.hits[0].announced_on if result.hits else None
    if result.is_indexing:
        return f"still indexing: {result.ready:,} of {result.scanned:,} papers ready"
    if not count:
        return f"nothing in {result.days} days"
    if result.per_week < 1:
        return paper_count(count, last)
    if result.everything > count and not result.draft.trending:
        return f"the best {result.draft.volume.replace('/', ' a ')}"
    is_whole = result.per_week >= 10 or result.per_week == int(result.per_week)
    rate = round(result.per_week) if is_whole else result.per_week
    return f"about {rate:,} a week" + (", estimated" if result.estimated else "")


def view(form: Form) -> View:
    """What the hidden fields of the form say. A value out of range is replaced."""
    days, shown, tab = form.text("days"), form.text("shown"), form.text("tab")
    return View(
        days=int(days) if days in map(str, DAYS) else View().days,
        shown=min(MAX_SHOWN, int(shown)) if shown.isascii() and shown.isdigit() and len(shown) < 5 else PAGE_SIZE,
        tab=tab if tab in TABS else "all",
        seen=form.text("seen"),
        began=form.text("began"),
    )


def act(app: AppContext, fields: Fields, view: View, do: str) -> tuple[Fields, View]:
    """The form and the view after a button of the editor: its value is `verb:argument`. Unknown ones do nothing."""
    verb, _, argument = do.partition(":")
    match verb:
        case "days" if argument in map(str, DAYS):
            return fields, replace(view, days=int(argument), shown=PAGE_SIZE)
        case "tab" if argument in TABS:
            return fields, replace(view, tab=argument, shown=PAGE_SIZE)
        case "more":
            return fields, replace(view, shown=min(MAX_SHOWN, view.shown + MORE_SIZE))
        case "query" if argument:
            return replace(fields, query=argument), replace(view, tab="all", shown=PAGE_SIZE)
        case "volume" if "/" in argument:
            count, _, per = argument.partition("/")
            return replace(fields, volume_count=count, volume_per=per), view
        case "best" if "/" in argument:
            count, _, per = argument.partition("/")
            cadence = "daily" if fields.cadence == "immediate" else fields.cadence
            return replace(fields, volume_count=count, volume_per=per, limit="best", cadence=cadence), view
        case "everything":
            return replace(fields, limit="all"), view
        case "wide":
            return replace(fields, wide=argument == "on"), view
        case "like" | "dislike" | "unvote" if argument.isascii() and argument.isdigit() and len(argument) < 19:
            return _voted(app, fields, int(argument), verb), replace(view, began=view.began or view.seen)
    return fields, view


def _voted(app: AppContext, fields: Fields, paper_id: int, verb: str) -> Fields:
    """The form with a paper as an example, or without it."""
    try:
        with app.db.transaction() as tx:
            return subscription_form.with_example(tx, fields, paper_id, EXAMPLES[verb])
    except ConfigError:  # The form names a paper that does not exist; its preview says so.
        return fields


@contextmanager
def in_time() -> Iterator[None]:
    """Turns a statement that ran past its time limit into Busy, so that the page keeps the form."""
    try:
        yield
    except OperationalError as error:
        if not isinstance(error.orig, QueryCanceled):
            raise
        raise Busy("this took too long, so it was stopped; narrow the query, or look at fewer days") from None


def run(request: RequestContext, fields: Fields, view: View, editing: int | None) -> ShownPreview:
    if fields.asks_nothing:
        return ShownPreview()
    app = request.app
    try:
        with app.db.transaction() as tx:
            draft = subscription_form.draft(tx, fields)
        app.previews.count(request.account_id, time.monotonic())
        with app.previews.taken(request.account_id, MAX_WAIT_SECONDS), in_time():
            result = run_preview(
                app.slow_db,
                app.embedder,
                draft,
                days=view.days,
                account_id=request.account_id,
                stored_id=editing,
                shown=view.shown,
                tab=view.tab,
            )
    except Busy as error:
        return ShownPreview(failure=error, status=429)
    except NotFound as error:
        if editing and f"subscription {editing}" in str(error):
            raise
        # A liked paper was deleted meanwhile; the page for a wrong address would not help.
        return ShownPreview(failure=ConfigError(str(error), field="liked"))
    except QueryError as error:
        return ShownPreview(failure=error, mends=what_to_look_for(app.db, fields.query))
    except PaperwireError as error:
        return ShownPreview(failure=error)
    return _shown(result, view)


def send_trial(request: RequestContext, shown: ShownPreview) -> str:
    """Mails the papers of a preview to the account's own address. Returns what happened. Raises PaperwireError."""
    if shown.failure is not None:
        raise shown.failure
    if shown.result is None or not shown.result.samples:
        raise ConfigError("no paper matches")
    draft, app, account = shown.result.draft, request.app, request.account
    papers = {sample.paper.id: sample.why for sample in shown.result.samples}
    trial = Trial(name=draft.name, query=draft.query, interest=draft.interest, papers=papers)
    channel_id = channels.own_email_channel(app.db, app.settings, account.id, account.email)
    sent = resend.send_test(app.db, app.settings, channel_id, account.id, trial)
    return f"{plural(len(papers), 'paper')} on the way to {sent.label}."


def _shown(result: Preview, view: View) -> ShownPreview:
    days = (hit.announced_on for hit in result.hits)
    ids = [str(hit.paper_id) for hit in result.hits]
    began = set(view.began.split(","))
    return ShownPreview(
        result=result,
        bars=tuple(weekly_bars(days, result.until, result.days, result.archive, result.saved_days)),
        scores=score_chart(result.histogram) if result.histogram else None,
        seen=",".join(ids) if len(ids) <= MAX_REMEMBERED else "",
        change=f"+{len(set(ids) - began)} −{len(began - set(ids))}" if view.began else "",
    )


def paper_count(count: int, last: date | None) -> str:
    """`8 papers, the last on 3 Sep`."""
    return plural(count, "paper") + (f", the last on {last.day} {last:%b}" if last else "")
