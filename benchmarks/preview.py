"""The time of a preview and of saving a subscription, with 100,000 papers of sixty days in PostgreSQL.

The archive is generated: copies of the papers of the small relevance set (`--data`), with noise added to each vector.
`ours` is the median of five runs in seconds; `peer` is the target of at most one second.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, insert, text

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.relevance import DEFAULT, embedded, read  # noqa: E402
from services import local  # noqa: E402
from services.domain.interests.calibration import embedding_text  # noqa: E402
from services.domain.interests.terms import pack_terms, terms_of  # noqa: E402
from services.domain.papers.paper import Paper, title_key  # noqa: E402
from services.domain.query.paper_text import PaperText  # noqa: E402
from services.domain.query.tsquery import to_tsvector  # noqa: E402
from services.domain.subscriptions.draft import Draft  # noqa: E402
from services.embedders.minilm import plugin  # noqa: E402
from services.flow.commands import subscribe  # noqa: E402
from services.flow.commands.preview import preview  # noqa: E402
from services.settings import Settings, load  # noqa: E402
from services.store.accounts import accounts  # noqa: E402
from services.store.db.database import Database  # noqa: E402
from services.store.db.tables import paper, paper_vector, paper_words  # noqa: E402
from services.store.maintenance import migrate  # noqa: E402

DAYS = 60
ROUNDS = 5
LIMIT = 1.0
CHUNK = 2_000
_PAPER = "title, abstract, authors, categories, title_key, announced_on, first_seen_at"
COPIES = (
    f"INSERT INTO paper (id, {_PAPER}) SELECT id + :by, {_PAPER} FROM paper WHERE id <= least(:most, :by)",
    "INSERT INTO paper_words SELECT paper_id + :by, terms, words FROM paper_words WHERE paper_id <= least(:most, :by)",
    "INSERT INTO paper_vector SELECT paper_id + :by, model, l2_normalize(vector + CAST(:aside AS vector))"
    " FROM paper_vector WHERE paper_id <= least(:most, :by)",
)
TEXT = "Agents that plan, call tools and browse the web with large language models"
ASKED = {
    "word": Draft(query="diffusion"),
    "phrases": Draft(query='"language model*" AND (agent OR title:planning) -survey'),
    "nothing": Draft(query='"this phrase stands nowhere"'),
    "everything": Draft(query="the OR of"),
    "near": Draft(query='"reward human preference"~8'),
    "author": Draft(query='author:"Wei Wang"'),
    "text": Draft(interest=TEXT),
    "examples": Draft(liked=(3, 14, 15, 92, 65)),
    "text and examples": Draft(interest=TEXT, liked=(3, 14, 15, 92, 65)),
    "text and query": Draft(interest=TEXT, query="model -survey", volume="1/day"),
}


def generate(tx: Connection, rows: list[dict[str, Any]], count: int, model: str) -> None:
    """`count` papers, the last announced today; PostgreSQL copies what is stored once."""
    today = datetime.now(UTC)
    vectors = embedded([embedding_text(row["title"], row["summary"]) for row in rows])
    known = [_stored(row) for row in rows]
    tx.execute(text("DROP INDEX ix_paper_words_words"))
    for start in range(0, len(rows), CHUNK):
        part = range(start, min(start + CHUNK, len(rows)))
        days = {"announced_on": today.date(), "first_seen_at": today}
        tx.execute(insert(paper), [{**known[at][0], **days, "id": at + 1} for at in part])
        tx.execute(insert(paper_words), [{**known[at][1], "paper_id": at + 1} for at in part])
        tx.execute(insert(paper_vector), [{"paper_id": at + 1, "model": model, "vector": vectors[at]} for at in part])
    random = np.random.default_rng(5)
    start = len(rows)
    while start < count:
        aside = {"by": start, "most": count - start, "aside": str(random.normal(0, 0.02, vectors.shape[1]).tolist())}
        for copy in COPIES:
            tx.execute(text(copy), aside)
        start *= 2
    spread = text("UPDATE paper SET announced_on = announced_on - CAST((:count - id) * :days / :count AS int)")
    tx.execute(spread, {"count": count, "days": DAYS})
    tx.execute(text("CREATE INDEX ix_paper_words_words ON paper_words USING gin (words)"))


def _stored(row: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    values = {
        "title": row["title"],
        "abstract": row["summary"],
        "authors": row.get("authors", []),
        "categories": row["categories"],
        "title_key": title_key(row["title"]),
    }
    one = Paper(
        id=0,
        title=row["title"],
        abstract=row["summary"],
        authors=tuple(values["authors"]),
        categories=tuple(row["categories"]),
        announced_on=datetime.now(UTC).date(),
        first_seen_at=datetime.now(UTC),
    )
    words = PaperText.of(one)
    return values, {"terms": pack_terms(terms_of(words)), "words": to_tsvector(words)}


def measure(db: Database, count: int) -> None:
    embedder = plugin("")
    embedder.embed(["once, so that the model is loaded"])
    with db.transaction() as tx:
        account = accounts.add(tx, "ada@example.org", "UTC")
    for name, draft in ASKED.items():
        seconds = []
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            found = preview(db, embedder, draft, account_id=account)
            seconds.append(time.perf_counter() - begin)
        report(name, count, seconds, found.as_json()["matched"])
    seconds = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        subscribe.save(db, embedder, account, ASKED["text"], [])
        seconds.append(time.perf_counter() - begin)
    report("save", count, seconds, 0)


def report(what: str, count: int, seconds: list[float], matched: int) -> None:
    ours = statistics.median(seconds)
    line = {
        "name": "preview", "what": what, "papers": count, "ours": round(ours, 3), "peer": LIMIT,
        "ratio": round(LIMIT / ours, 2), "first": round(seconds[0], 3), "matched": matched,
    }  # fmt: skip
    print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT)
    parser.add_argument("--papers", type=int, default=100_000)
    asked = parser.parse_args()
    rows = [row for path in sorted(asked.data.glob("stream-*.jsonl.gz")) for row in read(path)]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # as root the server runs as another user
        config = load(Settings, data_dir=Path(folder), database_url="", broker_url="")
        with local.database(config, migrate.upgrade_embedded) as url:
            db = Database(url)
            begin = time.perf_counter()
            with db.transaction() as tx:
                generate(tx, rows, asked.papers, plugin("").name)
            with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM FULL ANALYZE"))
            print(f"generated in {time.perf_counter() - begin:.0f} s", file=sys.stderr)
            measure(db, asked.papers)
            db.close()


if __name__ == "__main__":
    main()
