"""Search on every page: an identifier or a link opens its paper; words and sentences list papers."""

import re
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.responses import RedirectResponse, Response

from services import plugins
from services.domain.papers import identifiers
from services.domain.papers.identifiers import RecognisedIdentifier
from services.domain.papers.paper import Paper
from services.errors import Busy, EmbedderError, NotFound, QueryError
from services.flow.commands import search
from services.flow.commands.search import SearchPage
from services.store.maintenance import dashboard
from services.store.papers import papers
from services.store.sources import sources
from services.web.request_context import RequestContext, SignedIn

router = APIRouter()
MAX_CHARACTERS = 2_000
MAX_WAIT_SECONDS = 2.0
MAX_PAGE = 500
_OPERATOR = re.compile(r'["()*=:~]|(?:^|\s)-\w|\b(?:AND|OR|NOT)\b')
MIN_WORDS_OF_SENTENCE = 5
"""A text of so many words without operators is searched by its meaning."""
BLANK: dict[str, Any] = {
    "q": "", "by": "", "newest": False, "note": "", "like": None, "found": None, "reasons": {}, "pages": {},
    "error": "", "caret": "",
}  # fmt: skip
"""The variables of the page before a search."""
Page = Annotated[int, Query(ge=0, le=MAX_PAGE)]
PaperId = Annotated[int | None, Query(ge=1, lt=2**63)]


@router.get("/search")
def results(
    request: SignedIn, q: str = "", by: str = "", sort: str = "", like: PaperId = None, page: Page = 0
) -> Response:
    text = " ".join(q.replace("\0", "").split())
    if like is not None:
        return _like(request, like, page)
    if not text:
        return request.render("search.html", **BLANK)
    if len(text) > MAX_CHARACTERS:
        return _failed(request, text[:MAX_CHARACTERS], f"a search takes at most {MAX_CHARACTERS:,} characters")
    if (answer := _paper(request, text)) is not None:
        return answer
    return _listed(request, text, by or ("meaning" if _is_sentence(text) else "words"), sort == "newest", page)


def unknown(request: RequestContext, recognised: RecognisedIdentifier) -> Response:
    """The page of a paper that no source has announced: what would have brought it."""
    identifier = recognised.identifier
    with request.app.db.transaction() as tx:
        kinds = {source.kind for source in sources.all_with_newest_batch(tx) if source.polled}
    brings = [(kind, source.summary) for kind, source in plugins.sources().items() if source.publishes(identifier)]
    return request.render(
        "paper_unknown.html",
        404,
        identifier=identifier,
        links=identifiers.links(identifier),
        brings=brings,
        watched=kinds,
    )


def _paper(request: RequestContext, text: str) -> Response | None:
    """The page of the paper that `text` names; None when it names none."""
    recognised = identifiers.recognise(text)
    is_name = recognised is not None or text.isdigit() or text.startswith(("http://", "https://"))
    if not is_name or not text.isascii():
        return None
    try:
        with request.app.db.transaction() as tx:
            return RedirectResponse(f"/papers/{papers.find(tx, text)}", 303)
    except NotFound:
        return unknown(request, recognised) if recognised is not None else None


def _listed(request: RequestContext, text: str, by: str, newest: bool, page: int) -> Response:
    app, note = request.app, ""
    try:
        with app.previews.taken(request.account_id, MAX_WAIT_SECONDS):
            if by == "words":
                found = search.by_words(app.slow_db, text, page, newest=newest)
                if not found.total and page == 0 and not _OPERATOR.search(text):
                    found, by = search.by_meaning(app.slow_db, app.embedder, text), "meaning"
                    note = "No paper has these words. These are the closest in meaning."
            else:
                found = search.by_meaning(app.slow_db, app.embedder, text, page)
    except QueryError as error:
        return _failed(request, text, error.message, caret=error.caret())
    except EmbedderError:
        return _failed(request, text, "the embedding model does not answer; search by words instead", 503)
    except Busy as error:
        return _failed(request, text, str(error), 429)
    return _page(request, found, q=text, by=by, newest=newest, note=note)


def _like(request: RequestContext, paper_id: int, page: int) -> Response:
    app = request.app
    with app.db.transaction() as tx:
        paper = papers.load(tx, [paper_id]).get(paper_id)
    if paper is None:
        raise NotFound(f"no paper {paper_id} in the archive")
    try:
        with app.previews.taken(request.account_id, MAX_WAIT_SECONDS):
            found = search.like_paper(app.slow_db, app.embedder, paper.id, page)
    except Busy as error:
        return _failed(request, "", str(error), 429)
    note = "" if found.total else "This paper is not embedded yet. Try again in a few minutes."
    return _page(request, found, q="", by="like", newest=False, note=note, like=paper)


def _page(
    request: RequestContext, found: SearchPage, *, q: str, by: str, newest: bool, note: str, like: Paper | None = None
) -> Response:
    with request.app.db.transaction() as tx:
        reasons = dashboard.reasons(tx, request.account_id, [paper.id for paper in found.papers])
    kept = {"q": q, "by": by, "sort": "newest" if newest else ""} if like is None else {"like": like.id}
    pages = {
        name: urlencode({key: value for key, value in {**kept, "page": number}.items() if value})
        for name, number in (("before", found.page - 1), ("after", found.page + 1))
    }
    shown = {"by": by, "newest": newest, "note": note, "like": like, "found": found, "reasons": reasons, "pages": pages}
    return request.render("search.html", **{**BLANK, **shown, "q": q})


def _failed(request: RequestContext, text: str, error: str, status: int = 422, caret: str = "") -> Response:
    return request.render("search.html", status, **{**BLANK, "q": text, "error": error, "caret": caret})


def _is_sentence(text: str) -> bool:
    return len(text.split()) >= MIN_WORDS_OF_SENTENCE and not _OPERATOR.search(text)
