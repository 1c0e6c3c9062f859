"""A burst: a thousand new papers against many subscriptions, from the import to the last match in PostgreSQL.

Of ten subscriptions seven are queries (phrases of two words, drawn by their frequency in abstracts) and three are
interests (close to random papers, each with its own threshold). Both kinds match about 0.3 % of all pairs. The stages
run one after the other in one process. Embedding alone is timed before and after them. The worker has loaded its
subscriptions before the burst (`load_seconds`). `ratio` is twice the time of embedding alone divided by the total.
"""

import argparse
import json
import logging
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import func, insert, select, text, update

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.percolator import abstracts, tokenised  # noqa: E402
from services import local, plugins  # noqa: E402
from services.domain.papers.paper import Entry, Identifier, Listing  # noqa: E402
from services.domain.text.tokens import Token  # noqa: E402
from services.flow.pipeline import embed, ingest, match  # noqa: E402
from services.ports import Embedder  # noqa: E402
from services.settings import settings  # noqa: E402
from services.store.db.database import Database  # noqa: E402
from services.store.db.tables import account, shard  # noqa: E402
from services.store.db.tables import match as match_table  # noqa: E402
from services.store.maintenance import migrate  # noqa: E402
from services.store.sources import sources  # noqa: E402
from services.telemetry import configure_logging  # noqa: E402

PAPERS, QUERIES, NEAR, RANDOM = 1000, 0.7, 333, 2000
SHARE = 0.0035
"""The share of abstracts that a phrase matches, on average. In the new papers it is 0.3 %."""
TARGET_SIZE = 100_000
"""The number of subscriptions for which the target is set."""


def phrases(papers: Sequence[str]) -> tuple[list[str], Any]:
    """Pairs of words as queries, and the probabilities to draw them with so that they match `SHARE` of the papers."""
    counted, spelled = Counter[tuple[str, str]](), dict[tuple[str, str], str]()
    for one in papers:
        # Counted by stem, since queries match stems.
        token_pairs = pairwise(tokenised(one).abstract.tokens)
        words = {(a.stem, b.stem): f"{a.folded} {b.folded}" for a, b in token_pairs if _is_word(a) and _is_word(b)}
        counted.update(words.keys())
        spelled |= words
    kept = sorted((count, spelled[pair]) for pair, count in counted.items() if count >= 3)
    share = np.array([count for count, _ in kept]) / len(papers)
    # Weighted by frequency. The most frequent phrases are left out, so that the mean stays below SHARE.
    usable = np.cumsum(share**2) / np.maximum(np.cumsum(share), 1e-9) <= SHARE
    chances = share[usable] / share[usable].sum()
    return [f'"{pair}"' for (_, pair), use in zip(kept, usable, strict=True) if use], chances


def _is_word(token: Token) -> bool:
    return token.folded.isascii() and token.folded.isalpha()


def interests(embedder: Embedder, papers: Sequence[str], count: int) -> Iterator[dict[str, Any]]:
    """Random mixtures of two papers. The threshold of each is the score of the nearest other paper."""
    chance = np.random.default_rng(7)
    known = embedder.embed(papers[:NEAR])
    for start in range(0, count, RANDOM):
        picked = chance.integers(0, len(known), (min(RANDOM, count - start), 2))
        weights = known[picked].sum(axis=1)
        weights /= np.linalg.norm(weights, axis=1, keepdims=True)
        others = weights @ known.T
        np.put_along_axis(others, picked, -1, axis=1)
        nearest = others.max(axis=1)
        for row, near in zip(weights, nearest, strict=True):
            yield {
                "interest": "a random mixture",
                "volume": "5/week",
                "weights": str(row.tolist()),
                "threshold": float(near),
                "model": embedder.name,
            }


def wanted(embedder: Embedder, papers: Sequence[str], count: int) -> Iterator[dict[str, Any]]:
    queries = round(QUERIES * count)
    pairs, chances = phrases(papers)
    for one in np.random.default_rng(7).choice(len(pairs), queries, p=chances):
        yield {"query": pairs[one]}
    yield from interests(embedder, papers, count - queries)


def subscribe(db: Database, count: int, given: Iterator[dict[str, Any]]) -> None:
    """Inserts the subscriptions, as many to an account as it may have."""
    per_account = settings().max_subscriptions
    empty = {"query": "", "interest": "", "volume": "", "weights": None, "threshold": None, "model": ""}
    people = [{"email": f"reader{n}@example.org"} for n in range(-(-count // per_account))]
    statement = f"COPY subscription (account_id, name, shard, revision, {', '.join(empty)}) FROM STDIN"
    with db.transaction() as tx:
        first = min(tx.scalars(insert(account).returning(account.c.id), people))
        driver = tx.connection.driver_connection
        assert driver is not None
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for number, one in enumerate(given):
                values = (empty | one).values()
                copy.write_row((first + number // per_account, "burst", 0, number + 1, *values))
        tx.execute(update(shard).values(revision=count))
        tx.execute(text("ANALYZE"))


@contextmanager
def timed(parts: dict[str, float], name: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    parts[name] = round(time.perf_counter() - begin, 2)


def drain(work: Callable[[], bool]) -> None:
    while work():
        pass


def listing(papers: Sequence[str]) -> Listing:
    entries = [
        Entry(
            title=f"{number}: {' '.join(one.split()[:9])}",
            abstract=one,
            identifiers=(Identifier("arxiv", f"2501.{number:05d}"),),
            announced_on=date(2025, 1, 6),
        )
        for number, one in enumerate(papers)
    ]
    return Listing(format="benchmark", entries=entries, announced_on=date(2025, 1, 6))


def measured(count: int, papers: Sequence[str]) -> dict[str, Any]:
    config, parts, new = settings(), dict[str, float](), papers[-PAPERS:]
    with local.database(config, migrate.upgrade_embedded) as url:
        db, embedder = Database(url), plugins.embedder("minilm")
        with db.transaction() as tx:
            source = sources.source_of_imports(tx, "arxiv")
        subscribe(db, count, wanted(embedder, papers[:-PAPERS], count))
        shard_in_memory = match.Shard(number=0)
        with timed(parts, "load_seconds"), db.transaction() as tx:
            shard_in_memory.refresh(tx)
        with timed(parts, "alone_before"):
            embedder.embed(new)
        with timed(parts, "ingest"), db.transaction() as tx:
            ingest.store(tx, source, listing(new), now=db.now(), silent=False)
        with timed(parts, "embed"):
            drain(lambda: embed.work(db, config, embedder))
        with timed(parts, "match"):
            drain(lambda: match.work(db, config, [shard_in_memory]))
        with db.transaction() as tx:
            stored = tx.scalars(select(func.count()).select_from(match_table)).one()
        db.close()
    with timed(parts, "alone_after"):
        embedder.embed(new)
    alone = (parts.pop("alone_before") + parts.pop("alone_after")) / 2
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return {"matches": stored, **parts, "embedding_alone": round(alone, 2), "peak_megabytes": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, TARGET_SIZE, 1_000_000])
    sizes = parser.parse_args().sizes
    configure_logging(logging.WARNING)
    papers = abstracts()
    for count in sizes:
        with tempfile.TemporaryDirectory() as directory:
            os.environ |= {
                "PAPERWIRE_DATA_DIR": directory,
                "PAPERWIRE_SECRET_KEY": "a key for benchmarks of 32 characters or more",
            }
            settings.cache_clear()
            parts = measured(count, papers)
        seconds = round(sum(parts[name] for name in ("ingest", "embed", "match")), 2)
        line = {"name": "burst", "subscriptions": count, "papers": PAPERS, "seconds": seconds, **parts}
        if count == TARGET_SIZE:
            peer = round(2 * parts["embedding_alone"], 2)
            line |= {"ours": seconds, "peer": peer, "ratio": round(peer / seconds, 2)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
