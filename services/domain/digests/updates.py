"""Updates of sent messages: what of a message may change, and whether a change is worth an edit."""

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta

from services.domain.papers.paper import UPVOTE_STEPS, Paper

UPDATED_FOR = timedelta(days=7)
"""Older messages are not updated."""
UPDATE_DELAY = timedelta(minutes=10)
"""From the first change to the update, which includes all changes until then."""

Snapshot = Mapping[str, list[int]]
"""Paper id → upvote step, whether there is code (0 or 1), version."""


def snapshot(papers: Mapping[int, Paper]) -> Snapshot:
    """The properties of these papers that a message shows and that may change."""
    return {str(paper_id): _state(paper) for paper_id, paper in papers.items()}


def needs_update(sent: Snapshot, current: Snapshot) -> bool:
    """Whether a paper of the message has changed. A paper that is missing in `current` counts as unchanged."""
    return any(paper_id in current and current[paper_id] != state for paper_id, state in sent.items())


def idempotency_key(current: Snapshot) -> str:
    """Equal for equal snapshots, so that a message gets one update for each."""
    return hashlib.sha256(json.dumps(current, sort_keys=True).encode()).hexdigest()[:16]


def _state(paper: Paper) -> list[int]:
    step = max((step for step in UPVOTE_STEPS if step <= paper.upvotes), default=0)
    return [step, int("code" in paper.links), paper.version]
