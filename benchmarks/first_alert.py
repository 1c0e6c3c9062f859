"""The time from `import` of a Daily Papers page to the last recorded delivery, and that of each stage.

Two runs on one machine: the whole service as processes (`seconds`), and the stages one after the other in this process
(`parts`). `ratio` is the time of embedding divided by the total: 1 means that all other stages take no time.
"""

import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from services import local, plugins  # noqa: E402
from services.domain.subscriptions.draft import Draft  # noqa: E402
from services.flow.commands import channels, subscribe  # noqa: E402
from services.flow.pipeline import embed, ingest, match, notify  # noqa: E402
from services.flow.pipeline.deliver.gather import gather_due  # noqa: E402
from services.flow.pipeline.deliver.send import send_due  # noqa: E402
from services.settings import settings  # noqa: E402
from services.store.accounts import accounts  # noqa: E402
from services.store.db.database import Database  # noqa: E402
from services.store.db.secrets import SecretBox  # noqa: E402
from services.store.maintenance import migrate  # noqa: E402
from services.store.sources import sources  # noqa: E402
from services.telemetry import configure_logging  # noqa: E402
from tests.support.service import SAMPLE, service, until  # noqa: E402

PAGE = ROOT.parent / "shared" / "data" / "daily-papers-page.txt"
"""A saved page. If it is missing, the sample listing of the package is used."""
SUBSCRIPTIONS = (
    ("Models", "--query", "model*"),
    ("Agents", "--interest", "language model agents that plan and use tools"),
)


def run_service(page: Path) -> tuple[float, int]:
    """Seconds from the import to the last delivery by the running service, and the number of papers."""
    with tempfile.TemporaryDirectory() as directory, service(Path(directory) / "data") as running:
        running.cli("user", "add", "ada@example.org")
        for name, *what in SUBSCRIPTIONS:
            to = ("--cadence", "immediate", "--to", "email", "--to", "slack:#papers")
            running.cli("subscribe", "ada@example.org", "--name", name, *what, *to)
        running.start()
        begin = time.perf_counter()
        papers = running.json("import", str(page))["new"]
        until(running.settled, "everything is sent", 300)
        return time.perf_counter() - begin, papers


@contextmanager
def timed(parts: dict[str, float], name: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    parts[name] = round(time.perf_counter() - begin, 3)


def drain(work: Callable[[], bool]) -> None:
    while work():
        pass


def stages(page: Path) -> dict[str, float]:
    """The seconds of each stage, run one after the other."""
    parts: dict[str, float] = {}
    config = settings()
    with local.database(config, migrate.upgrade_embedded) as url:
        db, embedder, secrets = (
            Database(url),
            plugins.embedder("minilm"),
            SecretBox(["a key for benchmarks of 32 characters or more"]),
        )
        embedder.embed(["load the model"])
        with db.transaction() as tx:
            account = accounts.add(tx, "ada@example.org", "UTC")
        channel = channels.own_email_channel(db, config, account, "ada@example.org")
        for name, flag, asked in SUBSCRIPTIONS:
            draft = Draft(name=name, cadence="immediate", **{flag.removeprefix("--"): asked})
            subscribe.save(db, embedder, account, draft, [channel])
        shard = match.Shard(number=0)
        body = page.read_bytes()
        with timed(parts, "parse"):
            kind = ingest.detect(body)
            listing = plugins.source(kind).parse(body, day=db.now().date())
        with timed(parts, "ingest"), db.transaction() as tx:
            ingest.store(tx, sources.source_of_imports(tx, kind), listing, now=db.now(), silent=False)
        with timed(parts, "embed"):
            drain(lambda: embed.work(db, config, embedder))
        with timed(parts, "match"):
            drain(lambda: match.work(db, config, [shard]))
        with timed(parts, "notify"):
            drain(lambda: notify.work(db, config))
        with timed(parts, "deliver"):
            drain(lambda: gather_due(db, config))
            drain(lambda: send_due(db, config, secrets))
        db.close()
    return parts


def main() -> None:
    configure_logging(logging.WARNING)
    page = PAGE if PAGE.exists() else SAMPLE
    seconds, papers = run_service(page)
    with tempfile.TemporaryDirectory() as directory:
        os.environ |= {
            "PAPERWIRE_DATA_DIR": directory,
            "PAPERWIRE_SECRET_KEY": "a key for benchmarks of 32 characters or more",
        }
        settings.cache_clear()
        parts = stages(page)
    line = {
        "name": "first_alert",
        "papers": papers,
        "ours": round(seconds, 2),
        "seconds": round(seconds, 2),
        "parts": parts,
    }
    print(json.dumps(line | {"peer": parts["embed"], "ratio": round(parts["embed"] / seconds, 2)}))


if __name__ == "__main__":
    main()
