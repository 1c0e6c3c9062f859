"""Compile an interest: its text and example papers become weights, and its volume becomes thresholds.

The embedder is called outside transactions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sqlalchemy import Connection

from services.domain.interests.calibration import (
    MIN_CALIBRATION_DAYS,
    CompiledInterest,
    Delivered,
    Volume,
    correction,
    cosine_weights,
    embedding_text,
    parse_volume,
    relaxed_volumes,
    threshold_from_quantiles,
    threshold_from_scores,
)
from services.domain.interests.learning import MIN_PAPERS, USUAL_QUANTILES, Archive, Interest, Sample, learn
from services.domain.interests.terms import terms_of, terms_of_words
from services.domain.query.paper_text import PaperText
from services.domain.subscriptions.draft import Draft
from services.errors import EmbedderError, NotFound
from services.ports import Embedder
from services.store.db.database import Database
from services.store.interests import embedder_health, training_set
from services.store.papers import archive_search, papers
from services.store.papers import vectors as paper_vectors
from services.store.papers.found_papers import FoundPapers, Ranking, Window, joined

MIN_PAPERS_PER_DAY = 20.0
"""The least rate that an estimate assumes: that of Daily Papers alone."""
CONFIRM_BATCH_SIZE = 200
"""Papers whose texts are compared with the query at a time."""
CONFIRMED_PER_WANTED = 6
"""Confirming stops when the query has matched this many times the wanted volume."""


@dataclass(frozen=True, slots=True)
class Calibration:
    thresholds: list[float]
    """The threshold of the volume, then that of each relaxed volume."""
    estimated: bool
    """The thresholds come from the model's usual scores, since the archive is too young."""
    floor: float
    """The least threshold."""
    ranking: Ranking | None = None
    """The archive's papers by their score, if the thresholds come from them."""
    close: FoundPapers | None = None
    """Those of them that reach the floor and pass the query."""
    is_complete: bool = True
    """Whether `close` holds every paper that reaches the floor."""
    estimate: Callable[[Volume], float] | None = None
    """The estimated threshold of a volume, while the archive is too young."""

    def threshold_of(self, volume: Volume) -> float | None:
        """The threshold of another volume; None if it cannot be told from the papers that were read."""
        if self.estimate is not None:
            return self.estimate(volume)
        if self.close is None or self.ranking is None:
            return None
        days = self.ranking.window.days
        threshold = threshold_from_scores(self.close.scores, self.close.ages, days, volume, floor=self.floor)
        return threshold if threshold > self.floor or self.is_complete else None


def compile(db: Database, embedder: Embedder, draft: Draft) -> CompiledInterest:
    """Compiles a checked draft. If the embedder fails, the interest has no weights and its `error` says why."""
    return compile_and_calibrate(db, embedder, draft)[0]


def compile_and_calibrate(
    db: Database, embedder: Embedder, draft: Draft
) -> tuple[CompiledInterest, Calibration | None]:
    """As `compile`, with the calibration of the interest; None if there is none."""
    if not draft.has_interest:
        return CompiledInterest(), None
    now = db.now()
    with db.transaction() as tx:
        failure = embedder_health.failure(tx, embedder.name)
    if failure and failure.retry_at > now:  # A page does not wait for an embedder that failed a moment ago.
        return CompiledInterest(model=embedder.name, failed=EmbedderError(failure.reason)), None
    try:
        load_model_facts(embedder)
        text = _embed_text(embedder, draft.interest)
        liked, disliked = (_embed_examples(db, embedder, ids) for ids in (draft.liked, draft.disliked))
    except EmbedderError as error:
        return CompiledInterest(model=embedder.name, failed=error), None
    with db.transaction() as tx:
        archive = training_set.newest(tx, embedder.name).archive
        interest = _learn(text, liked, disliked, archive)
        calibration = calibrate(tx, embedder, interest, draft, archive=archive)
    compiled = CompiledInterest(
        weights=interest.weights.tolist(),
        terms=dict(interest.terms),
        threshold=calibration.thresholds[0],
        relaxed_thresholds=calibration.thresholds[1:],
        model=embedder.name,
        estimated=calibration.estimated,
    )
    return compiled, calibration


def load_model_facts(embedder: Embedder) -> None:
    """Reads the properties that a remote model must be asked for, before a transaction begins. Raises EmbedderError."""
    _ = embedder.dimensions, embedder.score_quantiles, embedder.floor


def calibrate(
    tx: Connection,
    embedder: Embedder,
    interest: Interest,
    draft: Draft,
    delivered: Delivered | None = None,
    archive: Archive | None = None,
) -> Calibration:
    """The thresholds at which the subscription matches about its volume, and about each relaxed volume.

    `delivered` corrects the volume for what the subscription matched lately. `archive` is the model's training set, if
    the caller has read it already.
    """
    volume = parse_volume(draft.volume)
    volumes = (volume, *relaxed_volumes(volume))
    window = archive_search.window(tx)
    floor = interest.floor(embedder.floor, wide=draft.wide)
    if window is None or window.days < MIN_CALIBRATION_DAYS:
        estimate = _estimator(tx, embedder, interest, window, archive, floor)
        return Calibration([estimate(each) for each in volumes], estimated=True, floor=floor, estimate=estimate)
    wanted = volume.per_day * window.days
    ranked = archive_search.closest(tx, embedder.name, interest, draft, window, wanted)
    reaching, enough = ranked.at(ranked.scores >= floor), round(CONFIRMED_PER_WANTED * wanted) + 1
    confirmed = _confirm(tx, draft, reaching, enough)
    factor = correction(volume, delivered)
    corrected = (replace(each, count=each.count * factor) for each in volumes)
    thresholds = [
        threshold_from_scores(confirmed.scores, confirmed.ages, window.days, each, floor=floor) for each in corrected
    ]
    return Calibration(
        thresholds,
        estimated=False,
        floor=floor,
        ranking=Ranking(window, ranked),
        close=confirmed,
        is_complete=len(reaching) < len(ranked) and not (reaching.unsure.any() and len(confirmed) >= enough),
    )


def _learn(text: Sample | None, liked: Sample, disliked: Sample, archive: Archive) -> Interest:
    """The interest as learned from the archive; while the archive is small, the cosine with text and examples."""
    if len(archive) < MIN_PAPERS:
        vector = text.vectors[0] if text is not None else None
        return Interest(cosine_weights(vector, liked.vectors, disliked.vectors), {})
    return learn(text, liked, disliked.vectors, archive)


def _estimator(
    tx: Connection,
    embedder: Embedder,
    interest: Interest,
    window: Window | None,
    archive: Archive | None,
    floor: float,
) -> Callable[[Volume], float]:
    """The threshold of a volume from the model's usual scores."""
    archive = archive if archive is not None else training_set.newest(tx, embedder.name).archive
    scores = interest.scores(archive.vectors, archive.terms) if len(archive) else None
    papers_per_day = max(MIN_PAPERS_PER_DAY, len(archive) / max(7, window.days if window else 0))
    quantiles = USUAL_QUANTILES if interest.terms else embedder.score_quantiles
    return lambda volume: threshold_from_quantiles(quantiles, volume, papers_per_day, scores, floor)


def _confirm(tx: Connection, draft: Draft, ranked: FoundPapers, enough: int) -> FoundPapers:
    """The best-scored papers whose texts the query matches; reads texts until `enough` papers are confirmed."""
    if not ranked.unsure.any():
        return ranked
    parts: list[FoundPapers] = []
    for start in range(0, len(ranked), CONFIRM_BATCH_SIZE):
        parts.append(archive_search.confirm(tx, draft, ranked.at(slice(start, start + CONFIRM_BATCH_SIZE))))
        if sum(map(len, parts)) >= enough:
            break
    return joined(parts)


def _embed_text(embedder: Embedder, text: str) -> Sample | None:
    return Sample(embedder.embed([text]), [terms_of_words(text)]) if text else None


def _embed_examples(db: Database, embedder: Embedder, ids: Sequence[int]) -> Sample:
    """Example papers with their vectors; papers that are not embedded yet are embedded now."""
    if not ids:
        return Sample(np.zeros((0, embedder.dimensions), dtype=np.float32), [])
    with db.transaction() as tx:
        vectors = paper_vectors.load(tx, ids, embedder.name)
        examples = papers.load(tx, ids)
    if unknown := set(ids) - examples.keys():
        raise NotFound(f"no paper {min(unknown)} in the archive to like or dislike; import it first, or leave it out")
    missing = [id for id in ids if id not in vectors]
    texts = [embedding_text(examples[id].title, examples[id].abstract) for id in missing]
    vectors |= dict(zip(missing, embedder.embed(texts), strict=True)) if texts else {}
    return Sample(np.stack([vectors[id] for id in ids]), [terms_of(PaperText.of(examples[id])) for id in ids])
