"""The time of each page, over HTTP: 100,000 papers, 1,000 accounts with 10 subscriptions each, 1,000,000 matches.

The archive is that of the benchmark `preview`. Each line has the median and the 95th percentile in milliseconds of
requests of different accounts one after the other, the limit, and the 95th percentile of `GET /healthz`
(`idle_p95_ms`), which does nothing, in the same run.
"""

import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import Connection, text

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.preview import TEXT, generate  # noqa: E402
from benchmarks.relevance import DEFAULT, read  # noqa: E402
from services import local  # noqa: E402
from services.domain.subscriptions.draft import Draft  # noqa: E402
from services.embedders.minilm import plugin  # noqa: E402
from services.flow.commands import subscribe  # noqa: E402
from services.settings import Settings, load  # noqa: E402
from services.store.accounts import accounts, sessions  # noqa: E402
from services.store.db.database import Database  # noqa: E402
from services.store.maintenance import migrate  # noqa: E402
from services.web.auth import COOKIE, Sessions  # noqa: E402

KEY = "a key for benchmarks of 32 characters or more"
ACCOUNTS, SUBSCRIPTIONS, MATCHES = 1_000, 10, 100
"""Subscriptions of each account, and matches of each subscription."""
PAGE, QUERY, INTEREST, WORDS, MEANING, VOTE = 100, 200, 500, 150, 300, 1_000
"""Limits of the 95th percentile, in milliseconds."""
VISITORS = 20
VOLUME = {"volume_count": 5, "volume_per": "week"}
_MORE_ACCOUNTS = """
WITH added AS (
  INSERT INTO account (email, timezone)
  SELECT 'p' || n || '@example.org', 'Europe/Berlin' FROM generate_series(1, :count) n RETURNING id, email
)
INSERT INTO member (account_id, email, role) SELECT id, email, 'owner' FROM added
"""
_SUBSCRIPTIONS = """
INSERT INTO subscription (account_id, name, query, shard, revision)
SELECT a.id, 'Subject ' || n,
       (ARRAY['diffusion', 'agent*', '"language model" -survey', 'robot OR control'])[n % 4 + 1], 0, n
FROM account a, generate_series(1, :count) n
"""
_MATCHES = """
INSERT INTO match (account_id, subscription_id, paper_id, decided, revision, notified_at, created_at)
SELECT s.account_id, s.id, (s.id * 7919 + n * 977) % :papers + 1, '{"why": "\\"diffusion\\" in the title"}', 1, now(),
       now() - n * interval '9 hours'
FROM subscription s, generate_series(1, :count) n ON CONFLICT DO NOTHING
"""


class Visitor:
    """One person with a session, as a browser that keeps a connection."""

    def __init__(self, base: str, db: Database, account_id: int) -> None:
        signed = Sessions([KEY])
        with db.transaction() as tx:
            session = signed.new(sessions.start(tx, account_id))
            self.subscription = int(
                tx.scalar(text(f"SELECT min(id) FROM subscription WHERE account_id = {account_id}"))
            )
        self.token = signed.form_token(session)
        headers = {"Cookie": f"{COOKIE}={signed.write(session)}", "Origin": base}
        self.client = httpx2.Client(base_url=base, headers=headers, timeout=60.0, follow_redirects=False)

    def get(self, path: str) -> httpx2.Response:
        return self.client.get(path)

    def post(self, path: str, **fields: Any) -> httpx2.Response:
        return self.client.post(path, data={"token": self.token, **fields}, headers={"HX-Request": "true"})


def populate(tx: Connection, papers: int) -> None:
    tx.execute(text(_MORE_ACCOUNTS), {"count": ACCOUNTS})
    tx.execute(text(_SUBSCRIPTIONS), {"count": SUBSCRIPTIONS})
    tx.execute(text(_MATCHES), {"count": MATCHES, "papers": papers})


def requests(papers: int) -> dict[str, tuple[float, Callable[[Visitor, int], httpx2.Response]]]:
    """By name, the limit and the request. Each run of it asks for something else."""
    some = random.Random(3)
    words = ["diffusion", "reward model", "agents planning", "graph -survey", "robot control", "vision transformer"]

    def draft(visitor: Visitor, turn: int, **fields: Any) -> httpx2.Response:
        return visitor.post("/subscriptions/preview", cadence="daily", name=f"n{turn}", **fields)

    paths = [
        "/",
        "/matches",
        "/subscriptions",
        "/subscriptions/new",
        "/channels",
        "/deliveries",
        "/sources",
        "/silences",
    ]
    paths.append("/account")
    asked: dict[str, tuple[float, Callable[[Visitor, int], httpx2.Response]]] = {
        path: (PAGE, lambda visitor, turn, path=path: visitor.get(path)) for path in paths
    }
    asked |= {
        "paper": (PAGE, lambda visitor, turn: visitor.get(f"/papers/{some.randrange(1, papers)}")),
        "subscription": (PAGE, lambda visitor, turn: visitor.get(f"/subscriptions/{visitor.subscription}")),
        "search by words": (WORDS, lambda v, turn: v.get(f"/search?by=words&q={words[turn % len(words)]}")),
        "search by meaning": (MEANING, lambda v, turn: v.get(f"/search?by=meaning&q={TEXT} {turn}")),
        "preview of a query": (QUERY, lambda v, turn: draft(v, turn, query=words[turn % len(words)])),
        "preview of an interest": (INTEREST, lambda v, turn: draft(v, turn, interest=f"{TEXT} {turn}", **VOLUME)),
        "vote": (VOTE, lambda v, turn: v.post("/votes", subscription=v.subscription, paper=turn + 1, verdict="more")),
    }  # fmt: skip
    return asked


def measure(visitors: list[Visitor], papers: int, rounds: int) -> None:
    for name, (limit, request) in requests(papers).items():
        idle, seconds = [], []
        timed(lambda ask=request: ask(visitors[0], rounds))  # once, so that its template and statements are prepared
        for turn in range(rounds):
            visitor = visitors[turn % len(visitors)]
            idle.append(timed(lambda visitor=visitor: visitor.get("/healthz")))
            seconds.append(timed(lambda ask=request, visitor=visitor, turn=turn: ask(visitor, turn)))
        p95 = percentile(seconds, 95)
        line = {
            "name": "web", "page": name, "papers": papers, "p50_ms": milliseconds(statistics.median(seconds)),
            "p95_ms": milliseconds(p95), "limit_ms": limit, "ratio": round(limit / 1000 / p95, 2),
            "idle_p95_ms": milliseconds(percentile(idle, 95)),
        }  # fmt: skip
        print(json.dumps(line), flush=True)


def timed(request: Callable[[], httpx2.Response]) -> float:
    begin = time.perf_counter()
    answer = request()
    seconds = time.perf_counter() - begin
    if answer.status_code >= 400:
        raise SystemExit(f"{answer.request.method} {answer.request.url} answers {answer.status_code}")
    return seconds


def percentile(seconds: list[float], share: int) -> float:
    return sorted(seconds)[min(len(seconds) - 1, len(seconds) * share // 100)]


def milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 1)


@contextmanager
def server(url: str, folder: str) -> Iterator[str]:
    """A web process of its own; yields its address."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    settings = {
        "PAPERWIRE_DATABASE_URL": url, "PAPERWIRE_BROKER_URL": "redis://127.0.0.1:1", "PAPERWIRE_DATA_DIR": folder,
        "PAPERWIRE_SECRET_KEY": KEY, "PAPERWIRE_BASE_URL": base, "PAPERWIRE_PREVIEWS_PER_MINUTE": "10000",
    }  # fmt: skip
    command = [sys.executable, "-P", "-m", "services.cli", "web", "--port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, **settings}, cwd=ROOT)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if httpx2.get(f"{base}/readyz", timeout=5.0).status_code == 200:
                    break
            except httpx2.HTTPError:
                time.sleep(0.1)
        yield base
    finally:
        process.terminate()
        process.wait(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT)
    parser.add_argument("--papers", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=40)
    asked = parser.parse_args()
    rows = [row for path in sorted(asked.data.glob("stream-*.jsonl.gz")) for row in read(path)]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # as root the server runs as another user
        config = load(Settings, data_dir=Path(folder), database_url="", broker_url="")
        with local.database(config, migrate.upgrade_embedded) as url:
            db = Database(url)
            begin = time.perf_counter()
            with db.transaction() as tx:
                first = accounts.add(tx, "ada@example.org", "UTC", operator=True)
                generate(tx, rows, asked.papers, plugin("").name)
            subscribe.save(db, plugin(""), first, Draft(name="Agents", interest=TEXT), [])
            with db.transaction() as tx:
                populate(tx, asked.papers)
            with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM FULL ANALYZE"))
            print(f"generated in {time.perf_counter() - begin:.0f} s", file=sys.stderr)
            with server(url, folder) as base:
                visitors = [Visitor(base, db, account_id) for account_id in range(first, first + VISITORS)]
                measure(visitors, asked.papers, asked.rounds)
            db.close()


if __name__ == "__main__":
    main()
