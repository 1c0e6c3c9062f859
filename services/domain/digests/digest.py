"""Digests: the content of a message. Each paper is in it once, in the group of the subscription that it suits best.

`_rank` orders the papers, `_weight` says how relevant a paper is, and `groups` keeps the papers of a subscription
together.
"""

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
"""In one message. Further papers are counted, and the page lists them."""
MIN_WEIGHT = 0.5
"""The weight of a query that matches in the abstract only, and of a score at the threshold. A query that matches in the
title and a score of twice the threshold have the weight 1."""

LINK = "link"
"""The kind of a mail whose button opens a link for the receiver alone. No delivery has this kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a paper is in a message: the subscription that it matched, and how."""

    subscription: int
    name: str
    for_whom: str = ""
    why: str
    """One line: `"model*" in the title`, or `close to your interest; about 1 paper in 500 is as close`."""
    score: float | None = None
    threshold: float | None = None
    """The threshold of the subscription; None when it has no interest any more."""
    query: Query | None = None
    interest: str = ""
    terms: Terms = field(default_factory=dict)
    """The terms that the interest has learned, with their weights."""
    closeness: Sequence[float] = ()
    """The relevance of each sentence of the abstract to the interest; empty until the sentences have vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestPaper:
    """A paper in a message. The spans are positions in its title and abstract as `display_text` returns them."""

    paper: Paper
    reasons: tuple[Reason, ...]
    """Those with the highest weight first; the paper is in the group of the first reason's subscription."""
    relevance: float = 0.0
    title_hits: tuple[Span, ...] = ()
    abstract_hits: tuple[Span, ...] = ()
    sentence: Span | None = None
    """The sentence of the abstract that is most relevant to the match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The papers of one subscription."""

    name: str
    for_whom: str
    papers: tuple[DigestPaper, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """One message to one channel. `more` counts the papers beyond the maximum, which only the page shows."""

    kind: str
    """A `DeliveryKind`."""
    title: str
    papers: tuple[DigestPaper, ...]
    more: int = 0
    more_url: str = ""
    settings_url: str = ""
    foot: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """Further lines of a notice, below its title."""
    action: str = ""
    """What the button of a mail with a link says."""

    @property
    def has_content(self) -> bool:
        """Whether there is anything to send: a paper, in a thread an abstract, or a text without papers."""
        if self.kind == "thread":
            return any(item.paper.abstract for item in self.papers)
        return self.kind in ("confirm", "test", "notice", LINK) or bool(self.papers)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The papers by subscription. The group of the highest paper comes first."""
        by_subscription: dict[int, list[DigestPaper]] = {}
        for item in self.papers:
            by_subscription.setdefault(item.reasons[0].subscription if item.reasons else 0, []).append(item)
        return tuple(_group(papers) for papers in by_subscription.values())


def _group(papers: Sequence[DigestPaper]) -> Group:
    first = papers[0].reasons[0] if papers[0].reasons else None
    return Group(name=first.name if first else "", for_whom=first.for_whom if first else "", papers=tuple(papers))


def compose(
    kind: str,
    selected: Mapping[int, tuple[Paper, Sequence[Reason]]],
    day: date,
    base_url: str,
    source_lines: Sequence[str] = (),
    more_url: str = "",
) -> Digest:
    """The message of these papers and reasons: the most relevant first, then upvotes, then the newest.

    Withdrawn papers and papers without a reason are left out, so the result may be empty. `source_lines`, made by
    `source_line`, go into the foot; `more_url` is the page that lists all papers.
    """
    items = [with_evidence(paper, reasons) for paper, reasons in selected.values() if reasons and not paper.withdrawn]
    ranked = sorted(items, key=_rank)
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
    """The paper with its reasons by descending weight, and the places in its text that matched."""
    text = paper_text(title(paper), abstract(paper), paper.authors, paper.categories, paper.sources)
    evidence_of = [evidence(reason.query, text) if reason.query else () for reason in reasons]
    weights = [_weight(reason, clauses) for reason, clauses in zip(reasons, evidence_of, strict=True)]
    matched = [(clause.field, span) for clauses in evidence_of for clause in clauses for span in clause.spans]
    matched += [hit for reason in reasons for hit in _term_hits(reason, text)]
    hits = {name: merge_spans(span for field, span in matched if field == name) for name in ("title", "abstract")}
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
    """The most relevant sentence: by matched words if any reason has a query, else by closeness if that is known."""
    close = [] if any(reason.query for reason in reasons) else [reason.closeness for reason in reasons]
    return closest_sentence(text.abstract.text, close) or distinctive_sentence(text.abstract, hits, about)


def _term_hits(reason: Reason, text: PaperText) -> Iterator[tuple[str, Span]]:
    """The places of the terms that contribute most to the score of an interest: (field, span)."""
    for term in top_terms(reason.terms, text) if reason.terms else ():
        for words in text.fields():
            yield from ((words.name, span) for span in words.spans(Phrase(term)))


def _weight(reason: Reason, clauses: Sequence[Evidence]) -> float:
    """How relevant one reason makes the paper, 0 … 1; 0 for a reason without query and score (trending)."""
    if reason.score is not None:
        least = reason.threshold or 0.0
        above = (reason.score - least) / least if least > 0 else 1.0
        return MIN_WEIGHT + (1 - MIN_WEIGHT) * min(1.0, max(0.0, above))
    if reason.query is not None:
        return 1.0 if any(clause.field == "title" for clause in clauses) else MIN_WEIGHT
    return 0.0


def source_line(name: str, new: int, selected: int) -> str:
    """`arXiv cs.LG: 131 new papers, 7 for you`: what a source announced on a day."""
    return f"{name}: {new:,} new paper{'s' if new != 1 else ''}, {selected} for you"


def confirmation() -> Digest:
    """The opt-in request."""
    return Digest(kind="confirm", title="Do you want mails from paperwire?", papers=())


def signin_link(issuer: str = "") -> Digest:
    """The mail with a link that somebody asked for on the sign-in page. `issuer`: of the identity that it connects."""
    return Digest(
        kind=LINK,
        title="Your link to sign in to paperwire",
        papers=(),
        notes=(
            "Somebody, probably you, asked for a link to sign in to paperwire with this address.",
            *_connecting(issuer),
        ),
        action="Sign in",
        foot=(
            "The link works once, for fifteen minutes, and replaces earlier ones.",
            "If you did not ask for it, do nothing: without the link nobody can sign in.",
        ),
    )


def signup_link(issuer: str = "") -> Digest:
    """The mail to an address without an account that may sign up, for which somebody asked on the sign-in page.

    `issuer`: of the identity that it connects.
    """
    return Digest(
        kind=LINK,
        title="Your link to join paperwire",
        papers=(),
        notes=(
            "paperwire sends alerts about new research papers. Somebody, probably you, entered this address there, "
            "and it has no account yet.",
            *_connecting(issuer),
        ),
        action="Make my account",
        foot=(
            "The link works once, for fifteen minutes.",
            "If you did not ask for it, do nothing: no account is made, and nothing more is sent.",
        ),
    )


def _connecting(issuer: str) -> tuple[str, ...]:
    """What a link says that connects an identity, since whoever has the identity then signs in with it."""
    return (f"From then on a sign-in at {issuer} opens this account too.",) if issuer else ()


def invitation(team: str = "") -> Digest:
    """The mail that invites an address. It contains nothing that the inviting person has written.

    `team`: the address of the account whose members the person joins; empty: the person gets an account.
    """
    whose = f"The owner of the account {team} invites you to sign in to it." if team else ""
    return Digest(
        kind=LINK,
        title="You are invited to paperwire",
        papers=(),
        notes=(
            "paperwire sends alerts about new research papers. "
            + (whose or "Its operator invites you to make an account."),
        ),
        action="Join" if team else "Make my account",
        foot=(
            "The link works once, for seven days.",
            "If you do nothing, no account is made, and nothing more is sent.",
        ),
    )


def test_message(base_url: str) -> Digest:
    """What `channel test` sends."""
    title = "paperwire reaches this channel"
    return Digest(
        kind="test", title=title, papers=(), settings_url=f"{base_url}/subscriptions", foot=("You asked for a test.",)
    )


def notice(text: str, base_url: str, notes: Sequence[str] = ()) -> Digest:
    """A message about paperwire itself, such as a source that keeps failing. With `notes`: the no-match report."""
    page, foot = "sources", "paperwire keeps trying, and sends this notice once."
    if notes:
        page, foot = (
            "subscriptions",
            "This report is sent once. The subscription stays active, whether you change it or not.",
        )
    return Digest(
        kind="notice", title=text, papers=(), settings_url=f"{base_url}/{page}", foot=(foot,), notes=tuple(notes)
    )


def _rank(item: DigestPaper) -> tuple[float, int, int, int]:
    """Relevance is rounded, so that upvotes decide between papers of nearly the same relevance."""
    paper = item.paper
    return -round(item.relevance, 1), -paper.upvotes, -paper.announced_on.toordinal(), -paper.id


def _title(kind: str, papers: Sequence[DigestPaper], names: Sequence[str], day: date) -> str:
    count = "1 paper" if len(papers) == 1 else f"{len(papers)} papers"
    about = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    if kind == "digest":
        return f"{count} on {day.day} {day:%B}: {about}"
    return title(papers[0].paper) if len(papers) == 1 else f"{count}: {about}"
