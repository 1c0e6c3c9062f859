"""The processes `python -P -m workers worker [--queues …]` and `python -P -m workers scheduler`."""

import argparse
import os
import sys
import time
import warnings

from services.errors import PaperwireError
from services.settings import settings
from services.telemetry import configure_logging, log

PREFORK_QUEUES = {"poll", "deliver"}
"""Their work waits on the network, so they run in several processes. The others hold models in memory."""


def _queues(text: str) -> list[str]:
    """Queue names; `match` without a number means the queues of all shards."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    expanded = [f"match.{number}" for number in _shard_numbers()] if "match" in names else []
    return [name for name in names if name != "match"] + expanded


def _shard_numbers() -> range:
    """Waits for the database, as the scheduler does."""
    from sqlalchemy.exc import OperationalError

    from workers.app import shard_numbers

    while True:
        try:
            return shard_numbers()
        except OperationalError as error:
            log.warning("worker cannot reach the database, retrying", why=str(error.orig).splitlines()[0])
            time.sleep(1.0)


def _work(queues: str, concurrency: int) -> None:
    from celery.platforms import SecurityWarning

    from workers.app import app

    # Celery warns about running as root, which is usual in a container. Tasks are JSON, not pickle.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    configure_logging()
    names = _queues(queues)
    pool = "prefork" if set(names) <= PREFORK_QUEUES else "solo"
    name = f"{'+'.join(name.split('.')[0] for name in names)}-{os.getpid()}@paperwire"
    options = ["--queues", ",".join(names), "--pool", pool, "--concurrency", str(concurrency), "--hostname", name]
    app.worker_main(["--quiet", "worker", *options, "--without-gossip", "--without-mingle", "--loglevel", "WARNING"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="paperwire worker")
    parser.add_argument("role", choices=["worker", "scheduler"])
    parser.add_argument("--queues", default="poll,embed,match,deliver,slow")
    parser.add_argument("--concurrency", type=int, default=2)
    options = parser.parse_args()
    try:
        if not settings().broker_url.get_secret_value():
            print("PAPERWIRE_BROKER_URL is not set; `paperwire up` sets it for its own processes", file=sys.stderr)
            return 1
        if options.role == "scheduler":
            from workers.scheduler import main as schedule

            schedule()
        else:
            _work(options.queues, options.concurrency)
    except PaperwireError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
