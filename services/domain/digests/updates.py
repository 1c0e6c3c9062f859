"""What may change in a message that is sent already, and whether a change is worth telling."""

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta

from services.domain.papers.paper import UPVOTE_STEPS, Paper

FOLLOWED_FOR = timedelta(days=7)
"""Nobody reads an older message again."""
GATHERED = timedelta(minutes=10)
"""From a change to the update that tells it, with all that changed meanwhile."""

Shown = Mapping[str, list[int]]
"""Paper id → what its message said of it that counts."""


def shown(papers: Mapping[int, Paper]) -> Shown:
    """What a message says of these papers: the upvote step, whether there is code, the version."""
    return {str(key): _standing(paper) for key, paper in papers.items()}


def worth_telling(before: Shown, now: Shown) -> bool:
    """Whether a paper of the message stands otherwise than it says."""
    return any(key in now and now[key] != standing for key, standing in before.items())


def key(now: Shown) -> str:
    """The same for the same standings: one update each."""
    return hashlib.sha256(json.dumps(now, sort_keys=True).encode()).hexdigest()[:16]


def _standing(paper: Paper) -> list[int]:
    step = max((step for step in UPVOTE_STEPS if step <= paper.upvotes), default=0)
    return [step, int("code" in paper.links), paper.version]
