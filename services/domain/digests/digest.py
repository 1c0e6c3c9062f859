"""Digests: the papers of a message, each once with all its reasons, grouped by the most relevant subscription."""

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
"""Papers in one message. The message counts the others and links to the page that lists them."""
MIN_WEIGHT = 0.5
"""The weight of a query that matches the abstract only, and of a score equal to the interest's threshold.

A query that matches the title, and a score of twice the threshold, have the weight 1.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a paper is in a message: the subscription that matched, and its criterion."""

    subscription: int
    name: str
    for_whom: str = ""
    why: str
    """One line, e.g. `"diffusion model*" in the title` or `61 % close to your interest (asked: 45 %)`."""
    score: float | None = None
    threshold: float | None = None
    """The threshold of the score; None when it is no longer known."""
    query: Query | None = None
    interest: str = ""
    terms: Terms = field(default_factory=dict)
    """The weights of the terms that the interest has learned."""
    closeness: Sequence[float] = ()
    """The score of each sentence of the abstract for the interest; empty until the sentences have vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestPaper:
    """A paper in a message. The spans are positions in its title and abstract as `display_text` returns them."""

    paper: Paper
    reasons: tuple[Reason, ...]
    """The most relevant first. The paper is grouped under the subscription of the first reason."""
    relevance: float = 0.0
    title_hits: tuple[Span, ...] = ()
    abstract_hits: tuple[Span, ...] = ()
    sentence: Span | None = None
    """The sentence of the abstract that is most relevant to the match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The papers of a message that are listed under one subscription."""

    name: str
    for_whom: str
    papers: tuple[DigestPaper, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """The content of one message to one channel. `more` counts the papers beyond `MAX_PAPERS`."""

    kind: str
    """The kind of the delivery, such as `message` (immediate), `digest` (daily or weekly), `test` or `notice`."""
    title: str
    papers: tuple[DigestPaper, ...]
    more: int = 0
    more_url: str = ""
    settings_url: str = ""
    foot: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """The lines of a notice, below its title."""

    @property
    def has_content(self) -> bool:
        """Whether there is anything to send: papers, in a thread an abstract, or a text without papers."""
        if self.kind == "thread":
            return any(item.paper.abstract for item in self.papers)
        return self.kind in ("confirm", "test", "notice") or bool(self.papers)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The papers by subscription, in the order of the message."""
        by_subscription: dict[int, list[DigestPaper]] = {}
        for item in self.papers:
            by_subscription.setdefault(item.reasons[0].subscription if item.reasons else 0, []).append(item)
        return tuple(_group(papers) for papers in by_subscription.values())


def _group(papers: Sequence[DigestPaper]) -> Group:
    first = papers[0].reasons[0] if papers[0].reasons else None
    return Group(name=first.name if first else "", for_whom=first.for_whom if first else "", papers=tuple(papers))


def compose(
    kind: str,
    reasons_by_paper: Mapping[int, tuple[Paper, Sequence[Reason]]],
    day: date,
    base_url: str,
    source_lines: Sequence[str] = (),
    more_url: str = "",
) -> Digest:
    """A digest of papers: the most relevant first, then those with the most upvotes, then the newest.

    Withdrawn papers and papers without a reason are left out, so the digest may be empty. Each paper is listed once,
    under its most relevant subscription. `source_lines` are for the foot. `more_url` is the page that lists all papers.
    """
    current = [with_evidence(p, r) for p, r in reasons_by_paper.values() if r and not p.withdrawn]
    ranked = sorted(current, key=_rank)
    names = list(dict.fromkeys(reason.name for item in ranked for reason in item.reasons))
    message = Digest(
        kind=kind,
        title=_title(kind, ranked, names, day),
        papers=tuple(ranked[:MAX_PAPERS]),
        more=max(0, len(ranked) - MAX_PAPERS),
        more_url=more_url or f"{base_url}/matches",
        settings_url=f"{base_url}/subscriptions",
        foot=(*source_lines, f"You get this because you subscribed to {', '.join(names)}."),
    )
    return replace(message, papers=tuple(item for group in message.groups for item in group.papers))


def with_evidence(paper: Paper, reasons: Sequence[Reason]) -> DigestPaper:
    """The paper with its reasons, the most relevant first, and the words and the sentence that explain the match."""
    text = paper_text(title(paper), abstract(paper), paper.authors, paper.categories, paper.sources)
    evidences = [evidence(reason.query, text) if reason.query else () for reason in reasons]
    weights = [_weight(reason, matched) for reason, matched in zip(reasons, evidences, strict=True)]
    spans = [(match.field, span) for matched in evidences for match in matched for span in match.spans]
    spans += [hit for reason in reasons for hit in _term_hits(reason, text)]
    hits = {name: merge_spans(span for field, span in spans if field == name) for name in ("title", "abstract")}
    about = frozenset[str]().union(*(distinctive_stems(reason.interest, reason.terms) for reason in reasons))
    order = sorted(range(len(reasons)), key=lambda index: -weights[index])
    return DigestPaper(
        paper=paper,
        reasons=tuple(reasons[index] for index in order),
        relevance=sum(weights),
        title_hits=hits["title"],
        abstract_hits=hits["abstract"],
        sentence=_sentence(text, hits["abstract"], about, reasons),
    )


def _sentence(text: PaperText, hits: Sequence[Span], about: Set[str], reasons: Sequence[Reason]) -> Span | None:
    """The most relevant sentence: by vectors if no reason has a query and vectors are known, otherwise by words."""
    close = [] if any(reason.query for reason in reasons) else [reason.closeness for reason in reasons]
    return closest_sentence(text.abstract.text, close) or distinctive_sentence(text.abstract, hits, about)


def _term_hits(reason: Reason, text: PaperText) -> Iterator[tuple[str, Span]]:
    """The positions of the terms that contributed most to the score of an interest, each with its field."""
    for term in top_terms(reason.terms, text) if reason.terms else ():
        for words in text.fields():
            yield from ((words.name, span) for span in words.spans(Phrase(term)))


def _weight(reason: Reason, matched: Sequence[Evidence]) -> float:
    """The relevance of a paper by one reason, 0 … 1; 0 for a reason without query and score (trending)."""
    if reason.score is not None:
        threshold = reason.threshold or 0.0
        above = (reason.score - threshold) / threshold if threshold > 0 else 1.0
        return MIN_WEIGHT + (1 - MIN_WEIGHT) * min(1.0, max(0.0, above))
    if reason.query is not None:
        return 1.0 if any(match.field == "title" for match in matched) else MIN_WEIGHT
    return 0.0


def source_line(name: str, announced: int | None, read: int, selected: int) -> str:
    """`cs.LG: 131 announced, 131 read, 7 for you`; `announced` is None if the source states no number."""
    stated = f"{announced} announced, " if announced is not None else ""
    return f"{name}: {stated}{read} read, {selected} for you"


def confirmation() -> Digest:
    """The message that asks the owner of an address to opt in."""
    return Digest(kind="confirm", title="Do you want mails from paperwire?", papers=())


def test_message(base_url: str) -> Digest:
    """The message that `channel test` sends."""
    title = "paperwire reaches this channel"
    return Digest(
        kind="test", title=title, papers=(), settings_url=f"{base_url}/subscriptions", foot=("You asked for a test.",)
    )


def notice(text: str, base_url: str, notes: Sequence[str] = ()) -> Digest:
    """A message about a source that keeps failing or, with `notes`, about a subscription without matches."""
    page, foot = "sources", "paperwire keeps trying, and sends this notice once."
    if notes:
        page, foot = (
            "subscriptions",
            "paperwire keeps watching, and sends this notice once. Change the subscription, or leave it as it is.",
        )
    return Digest(
        kind="notice", title=text, papers=(), settings_url=f"{base_url}/{page}", foot=(foot,), notes=tuple(notes)
    )


def _rank(item: DigestPaper) -> tuple[float, int, int, int]:
    """Sorts by relevance rounded to 0.1, so that upvotes decide between papers of about the same relevance."""
    return -round(item.relevance, 1), -item.paper.upvotes, -item.paper.announced_on.toordinal(), -item.paper.id


def _title(kind: str, papers: Sequence[DigestPaper], names: Sequence[str], day: date) -> str:
    count = "1 paper" if len(papers) == 1 else f"{len(papers)} papers"
    about = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    if kind == "digest":
        return f"{count} on {day.day} {day:%B}: {about}"
    return title(papers[0].paper) if len(papers) == 1 else f"{count}: {about}"
