"""Digests to render: eight papers of arXiv (its metadata is CC0) with the reasons a person could have for them."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from services.domain.digests.digest import Digest, Reason, with_evidence
from services.domain.papers.paper import Identifier, Paper
from services.domain.query.parser import parse
from services.ports import Envelope

ENVELOPE = Envelope(
    delivery_id=12,
    message_id="<delivery-12.ab34cd56@papers.example.org>",
    date=datetime(2025, 5, 27, 6, 0, tzinfo=UTC),
    unsubscribe_url="https://papers.example.org/unsubscribe/3hUQmVx0s0Yt5GkL1rcXh2nqzB7TfWdA",
)

_DIFFUSION = Reason(
    subscription=1, name="Diffusion models", why="diffusion* in the title", query=parse("diffusion OR denois*")
)
_RAG = Reason(
    subscription=2,
    name="RAG",
    for_whom="Ana",
    why='"retrieval augmented" in the abstract, cat:cs.CL',
    query=parse('"retrieval augmented" OR retriev* OR language'),
)
_CLOSE = Reason(
    subscription=3,
    name="How models reason",
    why='close to your interest: "reasoning"; about 1 paper in 1,000 is as close',
    score=0.61,
    threshold=0.45,
    interest="How language models reason step by step, and how reinforcement learning makes them do so",
)
_TRENDING = Reason(subscription=4, name="Trending", why="one of the ten most upvoted papers since yesterday")
_REASONS = (
    (_DIFFUSION, _TRENDING),
    (_DIFFUSION,),
    (_RAG, _CLOSE),
    (_CLOSE,),
    (_DIFFUSION,),
    (_RAG,),
    (_DIFFUSION,),
    (_CLOSE,),
)
_UPVOTES = (128, 41, 9, 67, 0, 3, 0, 12)


def papers() -> list[Paper]:
    entries = json.loads((Path(__file__).parents[1] / "data" / "digest-papers.json").read_text())
    return [
        Paper(
            id=number,
            title=entry["title"],
            abstract=entry["summary"],
            authors=tuple(entry["authors"]),
            categories=tuple(entry["categories"]),
            identifiers=(Identifier("arxiv", entry["id"]),),
            announced_on=date(2025, 5, 26),
            first_seen_at=datetime(2025, 5, 27, 5, 0, tzinfo=UTC),
            upvotes=_UPVOTES[number - 1],
            links=_links(entry["id"], code=number % 3 == 1, project=number == 1),
        )
        for number, entry in enumerate(entries, start=1)
    ]


def _links(arxiv: str, *, code: bool, project: bool) -> dict[str, str]:
    found = {"abstract": f"https://arxiv.org/abs/{arxiv}", "pdf": f"https://arxiv.org/pdf/{arxiv}"}
    found |= {"code": f"https://github.com/example/{arxiv}"} if code else {}
    return found | ({"project": "https://example.org/project"} if project else {})


def digest(count: int = 8, **changes: object) -> Digest:
    """A digest of `count` papers, the eight in turn."""
    eight = papers()
    items = tuple(
        with_evidence(replace(eight[number % 8], id=number + 1), _REASONS[number % 8]) for number in range(count)
    )
    sample = Digest(
        kind="digest",
        title=f"{count} papers for you, Tuesday 27 May",
        papers=items,
        more=12,
        more_url="https://papers.example.org/papers?after=2025-05-26",
        settings_url="https://papers.example.org/settings",
        foot=("arXiv cs.LG: 131 new papers, 7 for you", "arXiv cs.CL: 104 new papers, 3 for you"),
    )
    return replace(sample, **changes)  # type: ignore[arg-type]


def about(title: str, *, abstract: str = "", why: str = "words in the title") -> Digest:
    """A digest of one paper with this title, whatever it holds."""
    paper = replace(papers()[0], title=title, abstract=abstract)
    reason = replace(_RAG, why=why)
    return digest(0, title=title, papers=(with_evidence(paper, (reason,)),), more=0)
