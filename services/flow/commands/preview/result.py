"""What a preview found, and the figures that pages and commands show of it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

from services.domain.digests.digest import DigestPaper
from services.domain.interests.histogram import Histogram
from services.domain.papers import display_text
from services.domain.papers.paper import Paper
from services.domain.query.clauses import LeftOut
from services.domain.subscriptions.draft import Draft
from services.flow.commands.preview.advice import Advice

MAX_PENDING_SHARE = 0.02
"""While a larger share of the window's papers waits for the index or the model, a rate would be wrong."""
MIN_COUNTED_DAYS = 7
TABS = ("all", "new", "gained", "lost", "near")


@dataclass(frozen=True, slots=True)
class Hit:
    """A paper that would have matched."""

    paper_id: int
    announced_on: date
    score: float


@dataclass(frozen=True, slots=True)
class Sample:
    """A paper of a preview, with its reason."""

    paper: Paper
    score: float | None
    why: str
    item: DigestPaper
    """The paper as a digest would show it, with the words that matched."""
    left_out: LeftOut | None = None
    """The clause because of which alone the paper does not match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    draft: Draft
    """As it would be saved."""
    days: int
    """The length of the window."""
    until: date
    """The last day of the window."""
    archive: Mapping[date, int]
    """The number of papers on each day of the window that has any."""
    ready: int
    """The papers of the window that are indexed, and embedded if the draft has an interest."""
    hits: list[Hit]
    """Newest first."""
    samples: list[Sample]
    """The first papers of the chosen list: the best-scored, or the newest if there is no interest."""
    counts: Mapping[str, int]
    """The number of papers in each list that was made: `all`, `new`, `gained`, `lost`, `near`."""
    everything: int = 0
    """The papers that match, before digests choose the trending ones or the best of a query."""
    saved_days: Counter[date] | None = None
    """Of a stored subscription that the draft changes: the papers on each day that it would match as it is stored."""
    failed: bool = False
    """The embedder failed, so that the interest brings nothing for now."""
    estimated: bool = False
    floor_binds: bool = False
    """Fewer papers come close to the interest than the volume asks for."""
    histogram: Histogram | None = None
    earlier: tuple[int, date | None] = (0, None)
    """If nothing matched: the papers of the whole archive that match the query, and the day of the last one."""
    advice: tuple[Advice, ...] = ()

    @property
    def scanned(self) -> int:
        """The number of papers in the window."""
        return sum(self.archive.values())

    @property
    def adds(self) -> int | None:
        """The number of hits that the account's other subscriptions have not matched."""
        return self.counts.get("new")

    @property
    def days_with_papers(self) -> int:
        """The days from the first to the last with papers, without gaps of more than a week; at least a week."""
        gaps = [(later - earlier).days for earlier, later in pairwise(self.archive)]
        return max(MIN_COUNTED_DAYS, 1 + sum(gap if gap <= MIN_COUNTED_DAYS else 1 for gap in gaps))

    @property
    def is_indexing(self) -> bool:
        """Whether so many papers wait for the index or the model that a rate would be wrong."""
        return not self.failed and self.scanned - self.ready > MAX_PENDING_SHARE * self.scanned

    @property
    def per_week(self) -> float:
        return round(7 * len(self.hits) / self.days_with_papers, 1)

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(each.text for each in self.advice)

    def as_json(self) -> dict[str, Any]:
        """The object of `POST /preview`. `per_week` is null while papers wait for the index."""
        per_day = Counter(hit.announced_on for hit in self.hits)
        return {
            "days": self.days,
            "until": self.until.isoformat(),
            "papers_scanned": self.scanned,
            "papers_ready": self.ready,
            "matched": len(self.hits),
            "per_day": [{"date": day.isoformat(), "papers": count} for day, count in sorted(per_day.items())],
            "per_week": None if self.is_indexing else self.per_week,
            **({} if self.adds is None else {"adds": self.adds}),
            "warnings": list(self.warnings),
            "samples": [
                {"paper": paper_json(sample.paper), "score": sample.score, "why": sample.why} for sample in self.samples
            ],
        }


def paper_json(paper: Paper) -> dict[str, Any]:
    """A paper as REST and the command line show it."""
    return {
        "id": str(paper.id),
        "title": display_text.title(paper),
        "authors": display_text.authors(paper),
        "categories": list(paper.categories),
        "identifiers": [str(identifier) for identifier in paper.identifiers],
        "announced_on": paper.announced_on.isoformat(),
        "upvotes": paper.upvotes,
        "links": dict(paper.links),
    }
