"""Embed: vectors for the papers of each new run, then for every other paper that has none."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import Connection

from services.domain.interests.calibration import embedding_text
from services.errors import EmbedderError
from services.ports import Embedder
from services.settings import Settings
from services.store.db.database import Database
from services.store.interests import embedder_health, embedding_backlog, embedding_models
from services.store.papers import merging, papers, search_index
from services.store.papers import vectors as paper_vectors
from services.store.subscriptions import match_runs
from services.store.subscriptions.records import RunToEmbed
from services.telemetry import fault_point, log

BATCH_SIZE = 128
"""Papers embedded between two commits, about two seconds on one core."""
MAX_BATCHES_PER_CLAIM = 2
"""Shared by the embedders in use, so that a claim ends well within its lease."""
LEASE = timedelta(minutes=5)
AfterStored = Callable[[Connection, str, list[int]], None]
"""Called in the transaction that stores vectors, with the model's name and the papers."""


def work(db: Database, settings: Settings, *embedders: Embedder) -> bool:
    """Embeds a part of one run with each embedder, and hands the run to matching when all its papers have vectors.

    If the embedder fails, the run is matched by keywords only. So is a run that has killed several workers.
    """
    with db.transaction() as tx:
        run = match_runs.claim_unembedded(tx, db.now(), LEASE * settings.time_scale)
    if run is None:
        return False
    max_batches = max(1, MAX_BATCHES_PER_CLAIM // len(embedders))
    usable = embedders if run.attempts <= match_runs.MAX_BATCH_ATTEMPTS else ()
    are_finished = [_embed_part(db, settings, embedder, run, max_batches) for embedder in usable]
    with db.transaction() as tx:
        if all(are_finished):
            match_runs.finish_embedding(tx, run, db.now())
        else:
            match_runs.release_unfinished(tx, run)
    fault_point("embedded")
    return True


def _embed_part(db: Database, settings: Settings, embedder: Embedder, run: RunToEmbed, max_batches: int) -> bool:
    """Whether the run need not wait any longer: it has all its vectors, or the embedder fails."""
    for _ in range(max_batches):
        with db.transaction() as tx:
            if embedder_health.failure(tx, embedder.name):
                return True
            ids = match_runs.papers_without_vector(tx, run.id, embedder.name, BATCH_SIZE)
        if not ids or not _embed(db, settings, embedder, ids):
            return True
    return False


def work_backlog(db: Database, settings: Settings, *embedders: Embedder) -> bool:
    """Embeds one batch of papers that no run waits for: silent imports, papers whose embedder was down, and the archive
    for a wanted model that does not serve yet."""
    return any(_work_backlog(db, settings, embedder) for embedder in embedders)


def _work_backlog(db: Database, settings: Settings, embedder: Embedder) -> bool:
    """Papers that were matched without a vector become a run of `vector` events.

    A paper that killed a worker is tried alone, at most three times. An embedder that failed is retried here.
    """
    now = db.now()
    with db.transaction() as tx:
        if embedder_health.is_backing_off(tx, embedder.name, now):
            return False
        ids = embedding_backlog.take(tx, embedder.name, BATCH_SIZE)
    is_embedded = bool(ids) and _embed(db, settings, embedder, ids, after_stored=_open_vector_run)
    with db.transaction() as tx:
        embedding_backlog.clear_attempts(tx, ids)
    return is_embedded


def _open_vector_run(tx: Connection, model: str, ids: list[int]) -> None:
    late = match_runs.matched_without_vector(tx, ids, model)
    if late:
        match_runs.open_run(tx, [(id, "vector") for id in late])


def _nothing(tx: Connection, model: str, ids: list[int]) -> None:
    """The papers are in a run already."""


def _embed(
    db: Database, settings: Settings, embedder: Embedder, ids: list[int], after_stored: AfterStored = _nothing
) -> bool:
    """Embeds papers and stores their vectors, and meanwhile indexes their words in a second thread.

    False if the embedder fails; the failure is recorded and the papers are embedded later.
    """
    with db.transaction() as tx:
        loaded = papers.load(tx, ids).values()
    texts = {paper.id: embedding_text(paper.title, paper.abstract) for paper in loaded}
    fault_point("embedding", *(paper.title for paper in loaded))
    try:
        with ThreadPoolExecutor(1) as pool:
            indexing = pool.submit(_index, db, ids)
            vectors = embedder.embed(list(texts.values()))
            indexing.result()
        with db.transaction() as tx:
            embedding_models.check_length(tx, embedder.name, vectors.shape[1])
    except EmbedderError as error:
        log.warning("embedder failed, only queries are matched until it works", why=str(error))
        with db.transaction() as tx:
            embedder_health.record_failure(tx, embedder.name, error, db.now(), settings.time_scale)
        return False
    with db.transaction() as tx:
        merging.lock_against_merges(tx)
        embedder_health.record_success(tx, embedder.name)
        paper_vectors.store(tx, embedder.name, list(texts), vectors)
        after_stored(tx, embedder.name, ids)
    return True


def index_papers(db: Database) -> bool:
    """Indexes the words of papers that are not indexed: their embedder is down, or an older paperwire stored them."""
    with db.transaction() as tx:
        ids = search_index.unindexed(tx, BATCH_SIZE)
    _index(db, ids)
    return bool(ids)


def _index(db: Database, ids: list[int]) -> None:
    with db.transaction() as tx:
        merging.lock_against_merges(tx)
        search_index.index(tx, papers.load(tx, ids).values())
