"""A digest as JSON: `id`, `type`, `timestamp` and `data`; its fields are documented in docs/webhooks.md."""

import hashlib
from datetime import UTC
from typing import Any

from services.domain.digests.digest import Digest, DigestPaper, Reason
from services.ports import Envelope
from services.render import abstract, line, link, title

TYPES = {"message": "papers.announced", "digest": "papers.digest", "test": "channel.test", "notice": "notice"}
ABSTRACTS = 16_000
"""Characters of all abstracts together, since the specification advises payloads below 20 kB."""
MAX_ABSTRACT = 2000
MAX_AUTHORS = 50
MAX_REASONS = 20


def payload(digest: Digest, envelope: Envelope) -> dict[str, Any]:
    # A delivery id may be used again after a restored backup, so the id of the message gets a hash as well.
    distinct = hashlib.sha256(envelope.message_id.encode()).hexdigest()[:16]
    words = min(MAX_ABSTRACT, ABSTRACTS // max(len(digest.papers), 1))
    return {
        "id": f"msg_{envelope.delivery_id}_{distinct}",
        "type": TYPES[digest.kind],
        "timestamp": envelope.date.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "data": {
            "title": line(digest.title, 300),
            "papers": [_paper(item, words) for item in digest.papers],
            "more": digest.more,
            "more_url": link(digest.more_url),
            "settings_url": link(digest.settings_url),
        },
    }


def _paper(item: DigestPaper, words: int) -> dict[str, Any]:
    paper = item.paper
    return {
        "id": str(paper.id),
        "title": title(paper),
        "abstract": abstract(paper, words),
        "authors": [line(name, 100) for name in paper.authors[:MAX_AUTHORS]],
        "author_count": max(paper.author_count or 0, len(paper.authors)),
        "categories": [line(category, 60) for category in paper.categories[:20]],
        "identifiers": {identifier.scheme: line(identifier.value, 200) for identifier in paper.identifiers},
        "announced_on": paper.announced_on.isoformat(),
        "version": paper.version,
        "upvotes": paper.upvotes,
        "links": {name: url for name, given in paper.links.items() if (url := link(given))},
        "reasons": [_reason(reason) for reason in item.reasons[:MAX_REASONS]],
    }


def _reason(reason: Reason) -> dict[str, Any]:
    return {
        "subscription": str(reason.subscription),
        "name": line(reason.name, 100),
        "for": line(reason.for_whom, 100),
        "why": line(reason.why, 300),
        "score": reason.score,
    }
