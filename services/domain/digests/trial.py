"""A trial digest: the papers of a preview as a message, for the person who looks at the preview."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from services.domain.digests.digest import MAX_PAPERS, Digest, Reason, compose
from services.domain.papers.paper import Paper
from services.domain.query.parser import parse
from services.errors import QueryError

NOTE = "You asked for this trial of a subscription. It changes nothing: these papers may come again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a trial digest says. It is stored with its delivery, since no subscription has matched the papers."""

    name: str
    query: str
    interest: str
    papers: Mapping[int, str]
    """The ids of the papers, each with the reason why it would match."""

    def as_json(self) -> dict[str, Any]:
        papers = [[paper_id, why] for paper_id, why in self.papers.items()]
        return {"name": self.name, "query": self.query, "interest": self.interest, "papers": papers}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Trial":
        papers = {int(paper_id): str(why) for paper_id, why in stored["papers"][:MAX_PAPERS]}
        return cls(name=stored["name"], query=stored["query"], interest=stored["interest"], papers=papers)


def trial_digest(trial: Trial, papers: Mapping[int, Paper], day: date, base_url: str) -> Digest:
    """The message of the papers that the archive still has, in the order of the preview."""
    try:
        query = parse(trial.query) if trial.query else None
    except QueryError:  # It was valid when the trial was asked for.
        query = None
    selected = {
        paper_id: (
            papers[paper_id],
            [Reason(subscription=0, name=trial.name, why=why, query=query, interest=trial.interest)],
        )
        for paper_id, why in trial.papers.items()
        if paper_id in papers
    }
    digest = compose("digest", selected, day, base_url, more_url=f"{base_url}/subscriptions/new")
    return replace(digest, kind="test", title=f"Trial: {digest.title}", foot=(NOTE,))
