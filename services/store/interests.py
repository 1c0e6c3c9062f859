"""Compiling interests against the archive: text and examples to a weight vector, a volume to a threshold."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from services.domain.interest import (
    compile_interest,
    embedding_text,
    parse_volume,
    score,
    threshold_from_quantiles,
    threshold_from_scores,
)
from services.domain.subscription import Draft
from services.errors import EmbedderError, NotFound
from services.ports import Embedder
from services.store import papers
from services.store.database import Database
from services.store.tables import paper, paper_vector

Vector = NDArray[np.float32]
WINDOW = timedelta(days=60)
CALIBRATED_FROM = timedelta(days=14)
FEWEST_PAPERS_PER_DAY = 20.0
"""While the archive is young: what Daily Papers alone brings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """An interest ready to match; without weights the subscription has none, or `error` says why it must wait."""

    weights: list[float] | None = None
    threshold: float | None = None
    model: str = ""
    estimated: bool = False
    error: str = ""


def compile(db: Database, embedder: Embedder, draft: Draft) -> Compiled:
    """Compiles a checked draft. A failing embedder is no failure of the subscription: it waits, and says so."""
    if not draft.has_interest:
        return Compiled()
    try:
        text = embedder.embed([draft.interest])[0] if draft.interest else None
        liked, disliked = (_examples(db, embedder, ids) for ids in (draft.liked, draft.disliked))
    except EmbedderError as error:
        return Compiled(model=embedder.name, error=f"waits for the embedder: {error}")
    weights = compile_interest(text, liked, disliked)
    with db.transaction() as tx:
        threshold, estimated = calibrate(tx, embedder, weights, draft.volume)
    return Compiled(weights=weights.tolist(), threshold=threshold, model=embedder.name, estimated=estimated)


def calibrate(tx: Connection, embedder: Embedder, weights: Vector, volume: str) -> tuple[float, bool]:
    """The threshold that brings about `volume`, and whether it is only estimated from the model's usual scores."""
    wanted = parse_volume(volume)
    first, last, count = papers.span(tx)
    start = max(first, last - WINDOW) if first and last else None
    archive = _archive(tx, embedder.name, start) if start else None
    scores = score(weights, archive) if archive is not None and len(archive) else None
    if last is None or start is None or scores is None or last - start < CALIBRATED_FROM:
        days = max(7, (last - start).days + 1) if start and last else 7
        rate = max(FEWEST_PAPERS_PER_DAY, count / days)
        return threshold_from_quantiles(embedder.score_quantiles, wanted, rate, scores), True
    return threshold_from_scores(scores, (last - start).days + 1, wanted), False


def _archive(tx: Connection, model: str, start: date) -> Vector:
    query = select(paper_vector.c.vector).join(paper, paper.c.id == paper_vector.c.paper_id)
    rows = tx.scalars(
        query.where(paper_vector.c.model == model, paper.c.announced_on >= start, ~paper.c.withdrawn)
    ).all()
    return np.asarray(rows, dtype=np.float32) if rows else np.zeros((0, 1), dtype=np.float32)


def _examples(db: Database, embedder: Embedder, ids: tuple[int, ...]) -> Vector:
    """Vectors of example papers, shape (n, dimensions); those the archive lacks are made now."""
    if not ids:
        return np.zeros((0, embedder.dimensions), dtype=np.float32)
    with db.transaction() as tx:
        known = papers.vectors(tx, ids, embedder.name)
        missing = papers.load(tx, [one for one in ids if one not in known])
    if lost := set(ids) - known.keys() - missing.keys():
        raise NotFound(f"no paper {min(lost)} in the archive to like or dislike")
    texts = [embedding_text(one.title, one.abstract) for one in missing.values()]
    made = dict(zip(missing, embedder.embed(texts), strict=True)) if texts else {}
    return np.stack([known[one] if one in known else made[one] for one in ids])
