"""Compiling interests against the archive: text and examples to a hyperplane, a volume to a threshold."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from services.domain.interests.calibration import (
    Delivered,
    Volume,
    compile_interest,
    correction,
    embedding_text,
    parse_volume,
    relaxed_volumes,
    threshold_from_quantiles,
    threshold_from_scores,
)
from services.domain.interests.learning import MIN_PAPERS, USUAL_QUANTILES, Archive, Interest, Sample, learn
from services.domain.interests.terms import terms_of, terms_of_words
from services.domain.papers.paper import Paper
from services.domain.query.paper_text import PaperText
from services.domain.subscriptions.draft import Draft
from services.errors import EmbedderError, NotFound
from services.ports import Embedder
from services.store.db.database import Database
from services.store.db.tables import match
from services.store.interests import embedder_health, training_set
from services.store.papers import archive_search, papers

Vector = NDArray[np.float32]
CALIBRATED_FROM = 14
"""Days that the archive must span; until then a threshold is estimated."""
MIN_PAPERS_PER_DAY = 20.0
"""While the archive is young: what Daily Papers alone brings."""
REMEMBERED = timedelta(days=28)
"""How far back a recalibration looks at what the subscription brought."""
ASKED_AT_ONCE = 200
ENOUGH = 6
"""A query is asked of the best-scored papers until it let through so many times the volume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """An interest ready to match; without weights the subscription has none, or must wait for the embedder."""

    weights: list[float] | None = None
    terms: dict[str, float] = field(default_factory=dict)
    threshold: float | None = None
    relaxed_thresholds: list[float] = field(default_factory=list)
    model: str = ""
    estimated: bool = False
    failed: EmbedderError | None = None
    best: archive_search.Best | None = field(default=None, compare=False)
    """The archive's papers by their score, where the threshold comes from them."""

    @property
    def error(self) -> str:
        """Why it waits, as its owner reads it."""
        return f"waits for the embedder: {self.failed}" if self.failed is not None else ""


@dataclass(frozen=True, slots=True)
class Calibrated:
    thresholds: list[float]
    """Of the volume, and of the relaxed ones."""
    estimated: bool
    """Only from the model's usual scores, since the archive is too young."""
    best: archive_search.Best | None = None


def compile(db: Database, embedder: Embedder, draft: Draft) -> Compiled:
    """Compiles a checked draft. A failing embedder is no failure of the subscription: it waits, and says so."""
    if not draft.has_interest:
        return Compiled()
    now = db.now()
    with db.transaction() as tx:
        down = embedder_health.failing(tx, embedder.name)
    if down and down["check_at"] > now:  # No page waits for what failed a moment ago.
        return Compiled(model=embedder.name, failed=EmbedderError(down["down_because"]))
    try:
        awake(embedder)
        text = _text(embedder, draft.interest)
        liked, disliked = (_examples(db, embedder, ids) for ids in (draft.liked, draft.disliked))
    except EmbedderError as error:
        return Compiled(model=embedder.name, failed=error)
    with db.transaction() as tx:
        seen = training_set.newest(tx, embedder.name)
        interest = _interest(text, liked, disliked, seen)
        found = calibrate(tx, embedder, interest, draft, seen=seen.papers)
    return Compiled(
        weights=interest.weights.tolist(),
        terms=dict(interest.terms),
        threshold=found.thresholds[0],
        relaxed_thresholds=found.thresholds[1:],
        model=embedder.name,
        estimated=found.estimated,
        best=found.best,
    )


def awake(embedder: Embedder) -> None:
    """Has a remote model say what it is, before a transaction begins. Raises EmbedderError when it cannot."""
    _ = embedder.dimensions, embedder.score_quantiles, embedder.floor


def _interest(text: Sample | None, liked: Sample, disliked: Sample, seen: training_set.Newest) -> Interest:
    """Learned against the archive; while that is young, the cosine with text and examples."""
    if len(seen.ids) < MIN_PAPERS:
        vector = text.vectors[0] if text is not None else None
        return Interest(compile_interest(vector, liked.vectors, disliked.vectors), {})
    return learn(text, liked, disliked.vectors, seen.papers)


def calibrate(
    tx: Connection,
    embedder: Embedder,
    interest: Interest,
    draft: Draft,
    delivered: Delivered | None = None,
    seen: Archive | None = None,
) -> Calibrated:
    """The threshold at which the whole subscription brings about its volume, and those of the relaxed volumes.

    `seen` are the archive's newest papers, where the caller has them.
    """
    wanted = parse_volume(draft.volume)
    volumes = (wanted, *relaxed_volumes(wanted))
    within = archive_search.window(tx)
    if within is None or within.days < CALIBRATED_FROM:
        return Calibrated(_estimated(tx, embedder, interest, volumes, within, seen), True)
    enough = wanted.per_day * within.days
    best = archive_search.closest(tx, embedder.name, interest, draft, within, enough)
    floor = interest.floor(embedder.floor)
    found = _confirmed(tx, draft, best.at(best.scores >= floor), round(ENOUGH * enough) + 1)
    times = correction(wanted, delivered)
    asked = (replace(one, count=one.count * times) for one in volumes)
    thresholds = [threshold_from_scores(found.scores, found.ages, within.days, one, floor=floor) for one in asked]
    return Calibrated(thresholds, False, archive_search.Best(within, best))


def _estimated(
    tx: Connection,
    embedder: Embedder,
    interest: Interest,
    volumes: Sequence[Volume],
    within: archive_search.Window | None,
    seen: Archive | None,
) -> list[float]:
    known = seen if seen is not None else training_set.newest(tx, embedder.name).papers
    scores = interest.scores(known.vectors, known.terms) if len(known) else None
    rate = max(MIN_PAPERS_PER_DAY, len(known) / max(7, within.days if within else 0))
    quantiles = USUAL_QUANTILES if interest.terms else embedder.score_quantiles
    floor = interest.floor(embedder.floor)
    return [threshold_from_quantiles(quantiles, one, rate, scores, floor) for one in volumes]


def _confirmed(tx: Connection, draft: Draft, best: archive_search.Found, enough: int) -> archive_search.Found:
    """Of the best-scored those whose texts the query matches, until there are enough."""
    if not best.unsure.any():
        return best
    parts: list[archive_search.Found] = []
    for start in range(0, len(best), ASKED_AT_ONCE):
        parts.append(archive_search.confirm(tx, draft, best.at(slice(start, start + ASKED_AT_ONCE))))
        if sum(map(len, parts)) >= enough:
            break
    return archive_search.joined(parts)


def delivered(tx: Connection, subscription_id: int, created_at: datetime, now: datetime) -> Delivered:
    """What a subscription brought lately, as far back as its interest is the same."""
    since = max(now - REMEMBERED, created_at)
    mine = (match.c.subscription_id == subscription_id) & (match.c.created_at >= since)
    count = tx.scalars(select(func.count()).select_from(match).where(mine)).one()
    return Delivered(count, (now - since) / timedelta(days=1))


def _text(embedder: Embedder, text: str) -> Sample | None:
    return Sample(embedder.embed([text]), [terms_of_words(text)]) if text else None


def _examples(db: Database, embedder: Embedder, ids: Sequence[int]) -> Sample:
    """Example papers; the vectors that the archive lacks are made now."""
    if not ids:
        return Sample(np.zeros((0, embedder.dimensions), dtype=np.float32), [])
    with db.transaction() as tx:
        known = papers.vectors(tx, ids, embedder.name)
        found = papers.load(tx, ids)
    if lost := set(ids) - found.keys():
        raise NotFound(f"no paper {min(lost)} in the archive to like or dislike; import it first, or leave it out")
    missing = [one for one in ids if one not in known]
    texts = [embedding_text(found[one].title, found[one].abstract) for one in missing]
    known |= dict(zip(missing, embedder.embed(texts), strict=True)) if texts else {}
    return Sample(np.stack([known[one] for one in ids]), [_terms(found[one]) for one in ids])


def _terms(paper: Paper) -> dict[str, float]:
    return terms_of(PaperText.of(paper))
