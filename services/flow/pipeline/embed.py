"""Embed: vectors for the papers of each new run, then for whatever the archive still lacks."""

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
from services.store.subscriptions import match_runs
from services.store.subscriptions.records import RunToEmbed
from services.telemetry import fault_point, log

BATCH = 128
"""Papers embedded between two commits, about two seconds on one core."""
BATCHES_A_CLAIM = 2
LEASE = timedelta(minutes=5)
Then = Callable[[Connection, str, list[int]], None]
"""What follows from vectors, given their model and papers."""


def work(db: Database, settings: Settings, *embedders: Embedder) -> bool:
    """Embeds a part of one run with each model in use, and hands it to matching when it is whole.

    Without the embedder the run goes on with its words alone, and so does one that keeps ending its workers.
    """
    with db.transaction() as tx:
        row = match_runs.claim_unembedded(tx, db.now(), LEASE * settings.time_scale)
    if row is None:
        return False
    batches = max(1, BATCHES_A_CLAIM // len(embedders))
    parts = embedders if row.attempts <= match_runs.MAX_BATCH_ATTEMPTS else ()
    done = [_embed_part(db, settings, one, row, batches) for one in parts]
    with db.transaction() as tx:
        if all(done):
            match_runs.finish_embedding(tx, row, db.now())
        else:
            match_runs.release_unfinished(tx, row)
    fault_point("embedded")
    return True


def _embed_part(db: Database, settings: Settings, embedder: Embedder, row: RunToEmbed, batches: int) -> bool:
    """Whether nothing is left to embed, or nothing can be: words do not wait for an embedder that failed last time."""
    for _ in range(batches):
        with db.transaction() as tx:
            ids = (
                []
                if embedder_health.failing(tx, embedder.name)
                else match_runs.papers_without_vector(tx, row.id, embedder.name, BATCH)
            )
        if not ids or not _embed(db, settings, embedder, ids):
            return True
    return False


def work_backlog(db: Database, settings: Settings, *embedders: Embedder) -> bool:
    """Embeds a batch of what no run waits for: silent imports, papers whose embedder was down, and, for a model that is
    to take over, the archive."""
    return any(_work_backlog(db, settings, one) for one in embedders)


def _work_backlog(db: Database, settings: Settings, embedder: Embedder) -> bool:
    """Papers whose words were matched already, and that no model had embedded, become a run of `vector` events.

    A paper that ended a worker is tried alone, and after three attempts no more. An embedder that failed is tried here,
    when its rest is over.
    """
    now = db.now()
    with db.transaction() as tx:
        ids = (
            []
            if embedder_health.is_backing_off(tx, embedder.name, now)
            else embedding_backlog.take(tx, embedder.name, BATCH)
        )
    embedded = bool(ids) and _embed(db, settings, embedder, ids, then=_open_run_of_late)
    with db.transaction() as tx:
        embedding_backlog.survived(tx, ids)
    return embedded


def _open_run_of_late(tx: Connection, model: str, ids: list[int]) -> None:
    late = match_runs.matched_without_vector(tx, ids, model)
    if late:
        match_runs.open_run(tx, [(one, "vector") for one in late])


def _nothing(tx: Connection, model: str, ids: list[int]) -> None:
    """The run that the papers came with goes on by itself."""


def _embed(db: Database, settings: Settings, embedder: Embedder, ids: list[int], then: Then = _nothing) -> bool:
    """Embeds and stores, in one step with what follows from it.

    False when the embedder fails, which is noted and tried again later.
    Words are noted beside it, with what an embedder of several threads leaves of the processor.
    """
    with db.transaction() as tx:
        loaded = papers.load(tx, ids).values()
    texts = {one.id: embedding_text(one.title, one.abstract) for one in loaded}
    fault_point("embedding", *(one.title for one in loaded))
    try:
        with ThreadPoolExecutor(1) as beside:
            noted = beside.submit(_note, db, ids)
            vectors = embedder.embed(list(texts.values()))
            noted.result()
        with db.transaction() as tx:
            embedding_models.check_length(tx, embedder.name, vectors.shape[1])
    except EmbedderError as error:
        log.warning("embedder failed, keywords go on without it", why=str(error))
        with db.transaction() as tx:
            embedder_health.failed(tx, embedder.name, error, db.now(), settings.time_scale)
        return False
    with db.transaction() as tx:
        merging.lock_against_merges(tx)
        embedder_health.answered(tx, embedder.name)
        papers.store_vectors(tx, embedder.name, list(texts), vectors)
        then(tx, embedder.name, ids)
    return True


def note_words(db: Database) -> bool:
    """Notes the words of some papers that have none: their embedder is down, or an older paperwire stored them."""
    with db.transaction() as tx:
        ids = search_index.unindexed(tx, BATCH)
    _note(db, ids)
    return bool(ids)


def _note(db: Database, ids: list[int]) -> None:
    with db.transaction() as tx:
        merging.lock_against_merges(tx)
        search_index.index(tx, papers.load(tx, ids).values())
