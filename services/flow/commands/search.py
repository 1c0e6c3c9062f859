"""Search in the archive: by the words of a query, by the meaning of a text, or for papers like a paper."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from services.domain.interests.learning import Interest
from services.domain.papers.paper import Paper
from services.domain.subscriptions.draft import Draft
from services.ports import Embedder
from services.store.db.database import Database
from services.store.papers import archive_search, papers
from services.store.papers import vectors as paper_vectors
from services.store.papers.found_papers import NOTHING, FoundPapers, Window, joined

PAGE_SIZE = 20
MAX_BY_MEANING = 100
"""Papers found by meaning: every paper has some closeness, so the list has no natural end."""
MAX_RANKED = 1_000
"""Papers that are ordered by relevance. A query that finds more shows the newest first."""
MAX_UNINDEXED_READ = 200
"""Papers that are not in the search index yet and are read instead, if there are no more."""
CONFIRM_BATCH_SIZE = 100
MAX_CONFIRMED = 2_000
"""Papers whose texts are read for one page, where the index cannot say whether the query matches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPage:
    """One page of what a search found."""

    papers: tuple[Paper, ...] = ()
    total: int = 0
    is_exact: bool = True
    """Whether `total` is the number of papers; otherwise it is the most there can be."""
    page: int = 0
    newest: bool = False
    """Whether the newest come first, because this was asked for or because there are too many to rank."""

    @property
    def has_more(self) -> bool:
        return (self.page + 1) * PAGE_SIZE < self.total


def by_words(db: Database, query: str, page: int = 0, *, newest: bool = False) -> SearchPage:
    """Papers that a query matches: those with its words in their titles first, or the newest. Raises QueryError."""
    draft = Draft(query=query)
    with db.transaction() as tx:
        window = _whole_archive(tx)
        if window is None:
            return SearchPage()
        unindexed = archive_search.unindexed(tx, window)[:MAX_UNINDEXED_READ]
        found = archive_search.passing(tx, draft, window, unindexed)
        newest = newest or len(found) > MAX_RANKED
        if not newest:
            found = _by_relevance(tx, query, found)
        confirmed, rest = _confirmed(tx, draft, found, (page + 1) * PAGE_SIZE)
        is_exact = not found.unsure[len(found) - rest :].any()
        return _page(tx, confirmed, len(confirmed) + rest, page, is_exact=is_exact, newest=newest)


def by_meaning(db: Database, embedder: Embedder, text: str, page: int = 0) -> SearchPage:
    """The papers whose vectors are closest to that of a text. Raises EmbedderError."""
    return _closest(db, embedder, embedder.embed([text])[0], page)


def like_paper(db: Database, embedder: Embedder, paper_id: int, page: int = 0) -> SearchPage:
    """The papers closest to a paper, without itself; nothing while it is not embedded."""
    with db.transaction() as tx:
        vector = paper_vectors.load(tx, [paper_id], embedder.name).get(paper_id)
    return SearchPage() if vector is None else _closest(db, embedder, vector, page, without=paper_id)


def _closest(
    db: Database, embedder: Embedder, vector: NDArray[np.float32], page: int, without: int | None = None
) -> SearchPage:
    with db.transaction() as tx:
        window = _whole_archive(tx)
        if window is None:
            return SearchPage()
        interest = Interest(vector, {})
        found = archive_search.closest(tx, embedder.name, interest, Draft(), window, MAX_BY_MEANING)
        found = found.at(found.ids != without).at(slice(MAX_BY_MEANING)) if len(found) else found
        return _page(tx, found, len(found), page)


def _whole_archive(tx: Connection) -> Window | None:
    first, last = papers.days(tx)
    return Window(first=first, last=last) if first is not None and last is not None else None


def _by_relevance(tx: Connection, query: str, found: FoundPapers) -> FoundPapers:
    """Ordered by relevance, and the newest first where it is equal."""
    relevance = archive_search.relevance(tx, query, found.ids.tolist())
    ranks = np.array([relevance[paper_id] for paper_id in found.ids.tolist()], np.float32)
    return found.at(np.argsort(-ranks, kind="stable"))


def _confirmed(tx: Connection, draft: Draft, found: FoundPapers, enough: int) -> tuple[FoundPapers, int]:
    """The first papers that the query matches, at least `enough` if there are so many, and how many were not read."""
    parts, read = [NOTHING], 0
    while read < min(len(found), MAX_CONFIRMED) and sum(map(len, parts)) < enough:
        parts.append(archive_search.confirm(tx, draft, found.at(slice(read, read + CONFIRM_BATCH_SIZE))))
        read += CONFIRM_BATCH_SIZE
    return joined(parts), max(0, len(found) - read)


def _page(
    tx: Connection, found: FoundPapers, total: int, page: int, *, is_exact: bool = True, newest: bool = False
) -> SearchPage:
    ids = found.ids[page * PAGE_SIZE : (page + 1) * PAGE_SIZE].tolist()
    loaded = papers.load(tx, ids)
    shown = tuple(loaded[paper_id] for paper_id in ids if paper_id in loaded)
    return SearchPage(papers=shown, total=total, is_exact=is_exact, page=page, newest=newest)
