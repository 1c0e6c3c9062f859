"""Rows 14 and 15: a database that stops dead, cuts its connections or has no room left."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from tests.faults import oracle
from tests.faults.oracle import Told
from tests.faults.rig import Rig
from tests.service import Service, service, until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]


@pytest.mark.faults
def test_row_14_connections_that_are_cut_under_load_lose_nothing(rig: Rig) -> None:
    rig.reader("ada", "alpha", to=["email", "#papers"])
    rig.reader("eve", "alpha")
    rig.worker("embed,match")
    rig.worker(concurrency=2)
    rig.scheduler()
    rig.announce("alpha")
    rig.until(rig.messages, "everything runs")
    rig.db.close()
    for _ in range(10):
        rig.announce("alpha")
        rig.db.close()
        rig.servers.cut_connections(rig.url)
    rig.settle(120, doubtful=None)


@pytest.mark.faults
def test_row_14_a_database_that_stops_at_once_under_load_loses_nothing(rig: Rig) -> None:
    rig.reader("ada", "alpha", to=["email", "#papers"])
    rig.reader("eve", "alpha")
    rig.worker("embed,match")
    rig.worker(concurrency=2)
    rig.scheduler()
    for _ in range(4):
        rig.announce("alpha")
        rig.db.close()
        rig.servers.stop_database_at_once()
    rig.announce("alpha")
    rig.settle(150, doubtful=None)


@pytest.mark.faults
def test_row_14_a_worker_that_starts_while_the_database_is_away_waits_for_it(rig: Rig) -> None:
    rig.reader("ada", "alpha")
    rig.announce("alpha")
    rig.scheduler()
    rig.worker()
    sockets, later = rig.servers.data_dir / "run" / "postgres", rig.folder / "later"
    assert str(sockets) in rig.url
    early = rig.worker("embed,match", PAPERWIRE_DATABASE_URL=rig.url.replace(str(sockets), str(later)))
    rig.until(lambda: early.said("trying again") > 1, "it finds no database")
    later.symlink_to(sockets)
    rig.settle()


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Puts what is in a folder on a file system of its own that is soon full; skips where we may not mount one."""
    whole = folder.with_suffix(".whole")
    folder.rename(whole)
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system takes root and its capabilities")
    try:
        subprocess.run(["cp", "-a", f"{whole}/.", str(folder)], check=True)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=True)


def batch(number: int) -> list[str]:
    return [f"P{20_000 + 100 * number + one}" for one in range(10)]


def taken_in(one: Service, file: Path, papers: list[str]) -> bool:
    """Whether an import of these papers said that it went well."""
    lines = [
        {"id": f"2605.{paper[1:]}", "title": f"{paper} about alpha", "summary": "words " * 400} for paper in papers
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with suppress(AssertionError):
        return bool(one.json("import", str(file))["new"] == len(papers))
    return False


def fill(ballast: Path) -> None:
    with suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(b"x" * 8192)
            file.flush()


@pytest.mark.faults
def test_row_15_a_full_disk_is_said_aloud_and_once_there_is_room_nothing_is_missing(tmp_path: Path) -> None:
    with service(tmp_path / "data", PAPERWIRE_TIME_SCALE="0.05") as one:
        one.cli("user", "add", "ada@example.org")
        to = ["--cadence", "immediate", "--to", "email"]
        one.cli("subscribe", "ada@example.org", "--name", "Alpha", "--query", "alpha", *to)
        with small_disk(tmp_path / "data" / "postgres", 200) as disk:
            one.start()
            tried, sure = set(batch(0)), set(batch(0))
            assert taken_in(one, tmp_path / "papers.jsonl", batch(0))
            until(lambda: len(one.smtp.mails) == 1, "everything runs", 60)
            stored, papers = taken_in(one, tmp_path / "papers.jsonl", batch(1)), set(batch(1))
            fill(disk / "ballast")
            sure, tried = sure | (papers if stored else set()), tried | papers
            log = tmp_path / "data" / "logs" / "postgres.log"
            until(lambda: "No space left on device" in log.read_text(errors="replace"), "it is said aloud", 60)
            (disk / "ballast").unlink()
            until(lambda: _settled(one), "all that was taken in is told", 150)
            messages = oracle.received(one.smtp, one.slack)
            assert {Told("ada@example.org", paper) for paper in sure} <= oracle.told(messages)
            expected = {Told("ada@example.org", paper) for paper in tried} & oracle.told(messages)
            oracle.judge(expected, messages, doubtful=one.query(oracle.DOUBTFUL)[0][0])
            one.cli("audit")
            one.stop()


def _settled(one: Service) -> bool:
    with suppress(DBAPIError):
        return one.settled()
    return False
