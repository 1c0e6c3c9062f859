"""Advice on a draft: what is odd about the papers that it brings, each with the change that mends it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from services.domain.query.clauses import leave_one_out
from services.domain.query.hints import hints
from services.domain.query.parser import And, Phrase, Query, parse
from services.domain.subscriptions.draft import DEFAULT_VOLUME, Draft
from services.errors import QueryError
from services.flow.commands.preview.search import Place, in_turn
from services.store.db.database import Database
from services.store.papers import archive_search, papers
from services.store.papers.found_papers import FoundPapers, Window
from services.store.sources import sources
from services.store.subscriptions import overlaps, subscriptions

MAX_SHARE = 0.1
"""A subscription that matches a larger share of all papers gets the warning "too broad"."""
MIN_OVERLAP = 0.8
"""The share of a draft's papers that another subscription brings, from which on it is named."""
MIN_COMPARED = 5
"""Papers from which on a share says something."""
ONE_CATEGORY_SHARE, USUAL_SHARE = 0.8, 0.5
"""A draft whose papers are mostly of one category gets advice if the archive's are not."""
MAX_COUNTED = 1_000
"""Papers whose categories are counted."""
MAX_MENDS = 3


@dataclass(frozen=True, slots=True)
class Mend:
    """A change of the form: `do` is `verb:argument` as the editor's buttons send it; or a page to open."""

    label: str
    do: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True)
class Advice:
    text: str
    mends: tuple[Mend, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Facts:
    """What the search found."""

    draft: Draft
    account_id: int | None
    stored_id: int | None
    matching: FoundPapers
    scanned: int
    unread: int
    unembedded: int
    is_indexing: bool
    earlier: int
    """Papers of the whole archive that match, if none of the window does."""
    failure: str
    """Why the interest is not compiled."""
    estimated: bool
    has_upvotes: bool


def what_to_look_for(db: Database, query: str) -> tuple[Mend, ...]:
    """Additions to a query that only excludes: the archive's most frequent categories. None for any other query."""
    try:
        parse(f"word {query}")
    except QueryError:
        return ()
    with db.transaction() as tx:
        first, last = papers.days(tx)
        if first is None or last is None:
            return ()
        newest = archive_search.newest_ids(tx, Window(first=first, last=last), MAX_COUNTED)
        counts = archive_search.primary_categories(tx, newest)
    most = sorted(counts, key=lambda name: -counts[name])[:MAX_MENDS]
    return tuple(Mend(f"Only in {name}", f"query:cat:{name} {query}") for name in most)


def advise(place: Place, facts: Facts) -> Iterator[Advice]:
    draft = facts.draft
    yield from (Advice(hint) for hint in hints(draft.query))
    if facts.failure:
        yield Advice(facts.failure)
    if facts.estimated:
        yield Advice("estimated: the archive is younger than 14 days, so the threshold follows typical scores")
    if not facts.scanned:
        yield Advice("the archive is empty; add a source or import a listing first")
    if not sources.any_polled(place.tx):
        text = "no source is watched, so nothing new can come"
        yield Advice(text, (Mend("Watch a source", href="/sources"),))
    if draft.disliked and not draft.has_interest:
        yield Advice("papers that you dislike count only beside an interest or a paper that you like")
    if facts.unembedded:
        yield Advice(f"{facts.unembedded} papers are not embedded yet and were passed over")
    if facts.unread:
        yield Advice(f"{facts.unread} more papers may match: too many to read for a preview; narrow the query")
    if not facts.has_upvotes:
        text = "no paper came from Daily Papers yet, whose upvotes say what is trending; add that source"
        yield Advice(text, (Mend("Open the sources", href="/sources"),))
    if not facts.is_indexing:
        yield from _on_papers(place, facts)
    if facts.account_id is not None:
        yield from _on_others(place, facts, facts.account_id)


def _on_papers(place: Place, facts: Facts) -> Iterator[Advice]:
    count = len(facts.matching)
    if facts.scanned and count > MAX_SHARE * facts.scanned:
        mend = Mend("Take about 5 a week", f"volume:{DEFAULT_VOLUME}")
        if not facts.draft.has_interest:
            mend = Mend("Take the best 5 a week", f"best:{DEFAULT_VOLUME}")
        mends = () if facts.draft.trending else (mend,)
        yield Advice(f"too broad: it matches {100 * count // facts.scanned} % of all papers", mends)
    if facts.scanned and not count and not facts.earlier and facts.draft.query and not facts.draft.has_interest:
        yield Advice("no paper of the archive matches this query", tuple(_revivals(place, facts.draft)))
    if count >= MIN_COMPARED:
        yield from _on_categories(place, facts)


def _revivals(place: Place, draft: Draft) -> Iterator[Mend]:
    """Changes of a query after which papers match: one clause left out, or words as prefixes."""
    query = parse(draft.query)
    tried = [(f"Leave out {one.clause}", one.query) for one in leave_one_out(query)]
    prefixed = str(_with_prefixes(query))
    if prefixed != draft.query:
        tried.insert(0, (f"Search for {prefixed}", prefixed))
    made = 0
    for label, text in in_turn(tried):
        try:
            count = _count(place, replace(draft, query=str(parse(text))))
        except QueryError:  # A prefix of fewer letters than a prefix needs.
            continue
        if count and made < MAX_MENDS:
            made += 1
            yield Mend(f"{label}: {count} paper{'s' if count != 1 else ''}", f"query:{text}")


def _with_prefixes(query: Query) -> Query:
    """The query with each single word as a prefix."""
    match query:
        case And(operands):
            return And(tuple(map(_with_prefixes, operands)))
        case Phrase(text) if " " not in text and not text.endswith("*") and text.isalpha() and len(text) >= 3:
            return Phrase(f"{text}*")
    return query


def _count(place: Place, draft: Draft) -> int:
    found = archive_search.passing(place.tx, draft, place.window, place.unindexed)
    return len(archive_search.confirm(place.tx, draft, found.at(slice(MAX_COUNTED))))


def _on_categories(place: Place, facts: Facts) -> Iterator[Advice]:
    draft, ids = facts.draft, facts.matching.ids[:MAX_COUNTED].tolist()
    if "cat:" in draft.query:
        return
    counts = archive_search.primary_categories(place.tx, ids)
    most = max(counts, key=lambda name: counts[name], default="")
    if not most or counts[most] < ONE_CATEGORY_SHARE * len(ids):
        return
    usual = archive_search.primary_categories(place.tx, _usual_ids(place, place.window))
    if usual.get(most, 0) > USUAL_SHARE * max(1, sum(usual.values())):
        return
    yield Advice(
        f"{100 * counts[most] // len(ids)} % of these papers are of the category {most}",
        (
            Mend(f"Only {most}", f"query:{_joined(draft.query, f'cat:{most}')}"),
            Mend(f"Without {most}", f"query:{_joined(draft.query, f'-cat:{most}')}"),
        ),
    )


def _usual_ids(place: Place, window: Window) -> list[int]:
    return archive_search.newest_ids(place.tx, window, MAX_COUNTED)


def _joined(query: str, clause: str) -> str:
    return f"({query}) {clause}" if " OR " in query else f"{query} {clause}".strip()


def _on_others(place: Place, facts: Facts, account_id: int) -> Iterator[Advice]:
    """Other subscriptions of the account that ask for the same, or bring most of these papers."""
    draft = facts.draft
    others = [row for row in subscriptions.list_all(place.tx, account_id) if row.id != facts.stored_id]
    for row in others:
        asked = (row.query, row.interest, row.trending, tuple(row.sources), row.min_upvotes)
        wanted = (draft.query, draft.interest, draft.trending, draft.sources, draft.min_upvotes)
        if asked == wanted and not draft.liked:
            yield Advice(
                f"“{row.name}” asks for the same papers already",
                (Mend(f"Open “{row.name}”", href=f"/subscriptions/{row.id}"),),
            )
            return
    ids = facts.matching.ids[:MAX_COUNTED].tolist()
    if len(ids) < MIN_COMPARED:
        return
    common = overlaps.matched_among(place.tx, [row.id for row in others], ids)
    most = max(others, key=lambda row: common.get(row.id, 0), default=None)
    if most is not None and common.get(most.id, 0) > MIN_OVERLAP * len(ids):
        yield Advice(
            f"“{most.name}” brings {100 * common[most.id] // len(ids)} % of these papers already",
            (Mend(f"Open “{most.name}”", href=f"/subscriptions/{most.id}"),),
        )
