"""Sentences: vectors for those of papers that an interest matched, so that messages show the telling one."""

from services.domain.digests.sentence_ranking import sentences_of
from services.errors import EmbedderError
from services.ports import Embedder
from services.settings import Settings
from services.store.db.database import Database
from services.store.interests import embedder_health, sentence_vectors
from services.store.papers import papers
from services.store.subscriptions import match_runs
from services.telemetry import fault_point, log

BATCH = 4
"""Papers between two commits: some forty sentences, so that nothing waits long behind them."""


def work(db: Database, settings: Settings, *embedders: Embedder) -> bool:
    """Makes the vectors of some papers' sentences; False when none wait, or something that people wait for does."""
    with db.transaction() as tx:
        if match_runs.any_unfinished(tx):  # Alerts need the processor more.
            return False
    return any(_work(db, settings, one) for one in embedders)


def _work(db: Database, settings: Settings, embedder: Embedder) -> bool:
    now = db.now()
    with db.transaction() as tx:
        resting = embedder_health.is_backing_off(tx, embedder.name, now)
        ids = [] if resting else sentence_vectors.take(tx, embedder.name, BATCH)
        loaded = papers.load(tx, ids)
    if not ids:
        return False
    texts = {one: sentences_of(loaded[one]) if one in loaded else [] for one in ids}
    fault_point("sentences", *(one.title for one in loaded.values()))
    try:
        rows = embedder.embed([text for together in texts.values() for text in together])
    except EmbedderError as error:
        log.warning("embedder failed, messages go without telling sentences", why=str(error))
        with db.transaction() as tx:
            sentence_vectors.release(tx, ids, embedder.name)
            embedder_health.failed(tx, embedder.name, error, db.now(), settings.time_scale)
        return False
    found, start = {}, 0
    for one, together in texts.items():
        found[one] = rows[start : start + len(together)]
        start += len(together)
    with db.transaction() as tx:
        sentence_vectors.store(tx, found, embedder.name)
    return True
