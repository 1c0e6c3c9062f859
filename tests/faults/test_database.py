"""Rows 14 and 15: a database that is stopped, cuts its connections or has a full disk."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from tests.faults import oracle
from tests.faults.harness import FaultHarness
from tests.faults.oracle import Alert
from tests.support.service import Service, service, until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]


@pytest.mark.faults
def test_row_14_connections_that_are_cut_under_load_lose_nothing(harness: FaultHarness) -> None:
    harness.subscribe("ada", "alpha", to=["email", "#papers"])
    harness.subscribe("eve", "alpha")
    harness.worker("embed,match")
    harness.worker(concurrency=2)
    harness.scheduler()
    harness.announce("alpha")
    harness.until(harness.messages, "the first alert has arrived")
    harness.db.close()
    for _ in range(10):
        harness.announce("alpha")
        harness.db.close()
        harness.servers.cut_connections(harness.url)
    harness.settle(120, resent=None)


@pytest.mark.faults
def test_row_14_an_immediate_stop_of_the_database_under_load_loses_nothing(harness: FaultHarness) -> None:
    harness.subscribe("ada", "alpha", to=["email", "#papers"])
    harness.subscribe("eve", "alpha")
    harness.worker("embed,match")
    harness.worker(concurrency=2)
    harness.scheduler()
    for _ in range(4):
        harness.announce("alpha")
        harness.db.close()
        harness.servers.stop_database_immediately()
    harness.announce("alpha")
    harness.settle(150, resent=None)


@pytest.mark.faults
def test_row_14_a_worker_that_starts_before_the_database_waits_for_it(harness: FaultHarness) -> None:
    harness.subscribe("ada", "alpha")
    harness.announce("alpha")
    harness.scheduler()
    harness.worker()
    sockets, later = harness.servers.data_dir / "run" / "postgres", harness.folder / "later"
    assert str(sockets) in harness.url
    early = harness.worker("embed,match", PAPERWIRE_DATABASE_URL=harness.url.replace(str(sockets), str(later)))
    harness.until(lambda: early.logged("cannot reach the database") > 1, "it cannot reach the database")
    later.symlink_to(sockets)
    harness.settle()


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Moves a folder to a small file system of its own. Skips the test where mounting is not allowed."""
    original = folder.with_suffix(".original")
    folder.rename(original)
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a file system requires root and CAP_SYS_ADMIN")
    try:
        subprocess.run(["cp", "-a", f"{original}/.", str(folder)], check=True)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=True)


def batch(number: int) -> list[str]:
    return [f"P{20_000 + 100 * number + index}" for index in range(10)]


def import_papers(running: Service, file: Path, papers: list[str]) -> bool:
    """Whether the import of these papers succeeded."""
    lines = [
        {"id": f"2605.{paper[1:]}", "title": f"{paper} about alpha", "summary": "words " * 400} for paper in papers
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with suppress(AssertionError):
        return bool(running.json("import", str(file))["new"] == len(papers))
    return False


def fill(ballast: Path) -> None:
    with suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(b"x" * 8192)
            file.flush()


@pytest.mark.faults
def test_row_15_a_full_disk_is_logged_and_loses_nothing_once_there_is_space(tmp_path: Path) -> None:
    with service(tmp_path / "data", PAPERWIRE_TIME_SCALE="0.05") as running:
        running.cli("user", "add", "ada@example.org")
        to = ["--cadence", "immediate", "--to", "email"]
        running.cli("subscribe", "ada@example.org", "--name", "Alpha", "--query", "alpha", *to)
        with small_disk(tmp_path / "data" / "postgres", 200) as disk:
            running.start()
            attempted, stored = set(batch(0)), set(batch(0))
            assert import_papers(running, tmp_path / "papers.jsonl", batch(0))
            until(lambda: len(running.smtp.mails) == 1, "the first alert has arrived", 60)
            succeeded, papers = import_papers(running, tmp_path / "papers.jsonl", batch(1)), set(batch(1))
            fill(disk / "ballast")
            stored, attempted = stored | (papers if succeeded else set()), attempted | papers
            log = tmp_path / "data" / "logs" / "postgres.log"
            until(lambda: "No space left on device" in log.read_text(errors="replace"), "the error is logged", 60)
            (disk / "ballast").unlink()
            until(lambda: _settled(running), "all stored papers are sent", 150)
            messages = oracle.received(running.smtp, running.slack)
            assert {Alert("ada@example.org", paper) for paper in stored} <= oracle.alerts_in(messages)
            expected = {Alert("ada@example.org", paper) for paper in attempted} & oracle.alerts_in(messages)
            oracle.check_alerts(expected, messages, resent=running.query(oracle.RESENT_DELIVERIES)[0][0])
            running.cli("audit")
            running.stop()


def _settled(running: Service) -> bool:
    with suppress(DBAPIError):
        return running.settled()
    return False
