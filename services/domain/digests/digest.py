"""What a message says: papers, each once, with every reason for it, under the subscription it suits best."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import date

from services.domain.digests.highlight import (
    closest_sentence,
    distinctive_sentence,
    distinctive_stems,
    merge_spans,
    paper_text,
)
from services.domain.interests.terms import Terms, top_terms
from services.domain.papers.display_text import abstract, title
from services.domain.papers.paper import Paper
from services.domain.query.evaluate import Evidence, evidence
from services.domain.query.paper_text import PaperText, Span
from services.domain.query.parser import Phrase, Query

MAX_PAPERS = 30
"""In one message; the rest is counted and stands on the page."""
MIN_WEIGHT = 0.5
"""Of a query that the abstract alone matches, and of an interest whose threshold is just reached. 1 is a query with a
word in the title, and twice the threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a paper is in a message: the subscription that matched and what decided."""

    subscription: int
    name: str
    for_whom: str = ""
    why: str
    """One line, e.g. `"diffusion model*" in the title` or `61 % close to your interest (asked: 45 %)`."""
    score: float | None = None
    threshold: float | None = None
    """Of the score; None when it is not known any more."""
    query: Query | None = None
    interest: str = ""
    terms: Terms = field(default_factory=dict)
    """What the interest has learned to look for."""
    closeness: Sequence[float] = ()
    """How much each of the abstract's sentences tells about the interest; nothing while that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestPaper:
    """A paper in a message; the spans are those of its title and abstract as `shown` gives them."""

    paper: Paper
    reasons: tuple[Reason, ...]
    """The weightiest first; the paper stands under that one's subscription."""
    relevance: float = 0.0
    title_hits: tuple[Span, ...] = ()
    abstract_hits: tuple[Span, ...] = ()
    sentence: Span | None = None
    """The abstract's sentence that says most about the match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The papers that stand under one subscription."""

    name: str
    for_whom: str
    papers: tuple[DigestPaper, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """One message to one channel. `more` counts the papers beyond the maximum, which only the page shows."""

    kind: str
    """`message` (immediate), `digest` (daily, weekly), `test` or `notice`."""
    title: str
    papers: tuple[DigestPaper, ...]
    more: int = 0
    more_url: str = ""
    settings_url: str = ""
    foot: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What a notice says beyond its title, line by line."""

    @property
    def has_content(self) -> bool:
        """Whether the message says anything: papers, in a thread their abstracts, or a text of its own."""
        if self.kind == "thread":
            return any(item.paper.abstract for item in self.papers)
        return self.kind in ("confirm", "test", "notice") or bool(self.papers)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The papers by subscription, in the order in which they stand."""
        found: dict[int, list[DigestPaper]] = {}
        for one in self.papers:
            found.setdefault(one.reasons[0].subscription if one.reasons else 0, []).append(one)
        return tuple(_group(papers) for papers in found.values())


def _group(papers: Sequence[DigestPaper]) -> Group:
    first = papers[0].reasons[0] if papers[0].reasons else None
    return Group(name=first.name if first else "", for_whom=first.for_whom if first else "", papers=tuple(papers))


def compose(
    kind: str,
    found: Mapping[int, tuple[Paper, Sequence[Reason]]],
    day: date,
    base_url: str,
    read: Sequence[str] = (),
    more_url: str = "",
) -> Digest:
    """The message of these papers and reasons: the most relevant first, then upvotes, then the newest.

    Papers that were withdrawn, or that nobody asks for any more, are left out; the result may be empty. Each stands
    once, under the subscription it is most relevant to. `read` are the ledger's lines for the foot, `more_url` is
    the page that lists all.
    """
    living = [with_evidence(p, r) for p, r in found.values() if r and not p.withdrawn]
    ranked = sorted(living, key=_rank)
    names = list(dict.fromkeys(reason.name for one in ranked for reason in one.reasons))
    message = Digest(
        kind=kind,
        title=_title(kind, ranked, names, day),
        papers=tuple(ranked[:MAX_PAPERS]),
        more=max(0, len(ranked) - MAX_PAPERS),
        more_url=more_url or f"{base_url}/matches",
        settings_url=f"{base_url}/subscriptions",
        foot=(*read, f"You get this because you subscribed to {', '.join(names)}."),
    )
    return replace(message, papers=tuple(one for group in message.groups for one in group.papers))


def with_evidence(paper: Paper, reasons: Sequence[Reason]) -> DigestPaper:
    """The paper with its reasons in order of weight and what in its words speaks for them."""
    text = paper_text(title(paper), abstract(paper), paper.authors, paper.categories, paper.sources)
    holds = [evidence(reason.query, text) if reason.query else () for reason in reasons]
    weights = [_weight(reason, found) for reason, found in zip(reasons, holds, strict=True)]
    matched = [(one.field, span) for found in holds for one in found for span in one.spans]
    matched += [told for reason in reasons for told in _term_hits(reason, text)]
    hits = {name: merge_spans(span for field, span in matched if field == name) for name in ("title", "abstract")}
    about = frozenset[str]().union(*(distinctive_stems(reason.interest, reason.terms) for reason in reasons))
    order = sorted(range(len(reasons)), key=lambda one: -weights[one])
    return DigestPaper(
        paper=paper,
        reasons=tuple(reasons[one] for one in order),
        relevance=sum(weights),
        title_hits=hits["title"],
        abstract_hits=hits["abstract"],
        sentence=_sentence(text, hits["abstract"], about, reasons),
    )


def _sentence(text: PaperText, hits: Sequence[Span], about: Set[str], reasons: Sequence[Reason]) -> Span | None:
    """The telling one: by words where somebody asked for words, else by closeness, where that is known."""
    close = [] if any(one.query for one in reasons) else [one.closeness for one in reasons]
    return closest_sentence(text.abstract.text, close) or distinctive_sentence(text.abstract, hits, about)


def _term_hits(reason: Reason, text: PaperText) -> Iterator[tuple[str, Span]]:
    """Where the terms stand that counted most for an interest, by field."""
    for term in top_terms(reason.terms, text) if reason.terms else ():
        for words in text.fields():
            yield from ((words.name, span) for span in words.spans(Phrase(term)))


def _weight(reason: Reason, holds: Sequence[Evidence]) -> float:
    """How relevant a paper is by one reason, 0 … 1; a reason of neither words nor score (trending) counts nothing."""
    if reason.score is not None:
        least = reason.threshold or 0.0
        above = (reason.score - least) / least if least > 0 else 1.0
        return MIN_WEIGHT + (1 - MIN_WEIGHT) * min(1.0, max(0.0, above))
    if reason.query is not None:
        return 1.0 if any(one.field == "title" for one in holds) else MIN_WEIGHT
    return 0.0


def source_line(name: str, announced: int | None, read: int, selected: int) -> str:
    """`cs.LG: 131 announced, 131 read, 7 for you`; `announced` is None where the source states no number."""
    stated = f"{announced} announced, " if announced is not None else ""
    return f"{name}: {stated}{read} read, {selected} for you"


def confirmation() -> Digest:
    """The question whether an address opts in."""
    return Digest(kind="confirm", title="Do you want mails from paperwire?", papers=())


def test_message(base_url: str) -> Digest:
    """What `channel test` sends."""
    title = "paperwire reaches this channel"
    return Digest(
        kind="test", title=title, papers=(), settings_url=f"{base_url}/subscriptions", foot=("You asked for a test.",)
    )


def notice(text: str, base_url: str, notes: Sequence[str] = ()) -> Digest:
    """A message about paperwire itself: a source that keeps failing, a subscription that brings nothing."""
    page, foot = "sources", "paperwire goes on trying, and tells you this once."
    if notes:
        page, foot = "subscriptions", "It goes on watching, and tells you this once. Change it, or leave it as it is."
    return Digest(
        kind="notice", title=text, papers=(), settings_url=f"{base_url}/{page}", foot=(foot,), notes=tuple(notes)
    )


def _rank(one: DigestPaper) -> tuple[float, int, int, int]:
    """Relevance counts in steps, so that between papers as good as equal people's votes decide."""
    return -round(one.relevance, 1), -one.paper.upvotes, -one.paper.announced_on.toordinal(), -one.paper.id


def _title(kind: str, papers: Sequence[DigestPaper], names: Sequence[str], day: date) -> str:
    count = "1 paper" if len(papers) == 1 else f"{len(papers)} papers"
    about = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    if kind == "digest":
        return f"{count} on {day.day} {day:%B}: {about}"
    return title(papers[0].paper) if len(papers) == 1 else f"{count}: {about}"
