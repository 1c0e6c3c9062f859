"""Sentence vectors of papers that an interest matched, so that messages show the sentence closest to the interest."""

from services.domain.digests.sentence_ranking import sentences_of
from services.errors import EmbedderError
from services.ports import Embedder
from services.settings import Settings
from services.store.db.database import Database
from services.store.interests import embedder_health, sentence_vectors
from services.store.papers import papers
from services.store.subscriptions import match_runs
from services.telemetry import fault_point, log

BATCH_SIZE = 4
"""Papers between two commits: about forty sentences, so that other work on the queue waits only briefly."""


def work(db: Database, settings: Settings, *embedders: Embedder) -> bool:
    """Embeds the sentences of some papers; False if no paper waits, or if a match run is open."""
    with db.transaction() as tx:
        if match_runs.any_unfinished(tx):  # Embedding and matching new papers need the processor.
            return False
    return any(_work(db, settings, embedder) for embedder in embedders)


def _work(db: Database, settings: Settings, embedder: Embedder) -> bool:
    now = db.now()
    with db.transaction() as tx:
        if embedder_health.is_backing_off(tx, embedder.name, now):
            return False
        ids = sentence_vectors.take(tx, embedder.name, BATCH_SIZE)
        loaded = papers.load(tx, ids)
    if not ids:
        return False
    sentences = {id: sentences_of(loaded[id]) if id in loaded else [] for id in ids}
    fault_point("sentences", *(paper.title for paper in loaded.values()))
    try:
        rows = embedder.embed([text for texts in sentences.values() for text in texts])
    except EmbedderError as error:
        log.warning("embedder failed, messages do not mark the closest sentence", why=str(error))
        with db.transaction() as tx:
            sentence_vectors.release(tx, ids, embedder.name)
            embedder_health.record_failure(tx, embedder.name, error, db.now(), settings.time_scale)
        return False
    vectors, start = {}, 0
    for id, texts in sentences.items():
        vectors[id] = rows[start : start + len(texts)]
        start += len(texts)
    with db.transaction() as tx:
        sentence_vectors.store(tx, vectors, embedder.name)
    return True
