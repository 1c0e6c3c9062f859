"""What a message says: papers, each once, with every reason for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from services.domain.paper import Paper


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a paper is in a message: the subscription that matched and what decided."""

    subscription: int
    name: str
    for_whom: str = ""
    why: str
    """One line, e.g. `"diffusion model*" in the title` or `61 % close to your interest (asked: 45 %)`."""
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestPaper:
    paper: Paper
    reasons: tuple[Reason, ...]


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


MOST_PAPERS = 50
"""In one message; the rest is counted and stands on the page."""


def compose(
    kind: str,
    found: Mapping[int, tuple[Paper, Sequence[Reason]]],
    day: date,
    base_url: str,
    read: Sequence[str] = (),
) -> Digest:
    """The message of these papers and reasons: the most relevant first, then upvotes, then the newest.

    Papers that were withdrawn, or that nobody asks for any more, are left out; the result may be empty. `read` are
    the ledger's lines for the foot.
    """
    living = [DigestPaper(paper=p, reasons=tuple(r)) for p, r in found.values() if r and not p.withdrawn]
    ranked = sorted(living, key=_rank)
    names = list(dict.fromkeys(reason.name for one in ranked for reason in one.reasons))
    return Digest(
        kind=kind,
        title=_title(kind, ranked, names, day),
        papers=tuple(ranked[:MOST_PAPERS]),
        more=max(0, len(ranked) - MOST_PAPERS),
        more_url=f"{base_url}/matches",
        settings_url=f"{base_url}/subscriptions",
        foot=(*read, f"You get this because you subscribed to {', '.join(names)}."),
    )


def ledger_line(name: str, announced: int | None, read: int, mine: int) -> str:
    """`cs.LG: 131 announced, 131 read, 7 for you`; without a count of the source's own only what was read."""
    stated = f"{announced} announced, " if announced is not None else ""
    return f"{name}: {stated}{read} read, {mine} for you"


def test_message(base_url: str) -> Digest:
    """What `channel test` sends."""
    title = "paperwire reaches this channel"
    return Digest(
        kind="test", title=title, papers=(), settings_url=f"{base_url}/subscriptions", foot=("You asked for a test.",)
    )


def notice(text: str, base_url: str) -> Digest:
    """A message about paperwire itself, e.g. a source that keeps failing."""
    foot = ("paperwire goes on trying, and tells you this once.",)
    return Digest(kind="notice", title=text, papers=(), settings_url=f"{base_url}/sources", foot=foot)


def _rank(one: DigestPaper) -> tuple[int, float, int, int]:
    """Several reasons beat one, a score counts among equals (a query's match alone as much as any)."""
    score = max((reason.score if reason.score is not None else 1.0 for reason in one.reasons), default=0.0)
    return -len(one.reasons), -score, -one.paper.upvotes, -one.paper.id


def _title(kind: str, papers: Sequence[DigestPaper], names: Sequence[str], day: date) -> str:
    count = "1 paper" if len(papers) == 1 else f"{len(papers)} papers"
    about = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    if kind == "digest":
        return f"{count} on {day.day} {day:%B}: {about}"
    return papers[0].paper.title if len(papers) == 1 else f"{count}: {about}"
