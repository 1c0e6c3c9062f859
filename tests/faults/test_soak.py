"""Row 28: papers flow while everything is killed at random; afterwards everybody has what he asked for."""

import json
import os
import random
import signal
import time
from contextlib import suppress
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
import redis
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from services.domain.papers.paper import Entry, Identifier, Listing
from services.flow.pipeline import ingest
from services.local.process import processes_in, without_children
from services.store.db.database import Database
from services.store.maintenance.audit import audit
from services.store.sources import sources
from tests.faults import oracle
from tests.faults.oracle import Told
from tests.faults.rig import SOON
from tests.service import Service, service, until

READERS = {
    "ada@example.org": ("alpha", ("ada@example.org", "#papers")),
    "eve@example.org": ("alpha", ("eve@example.org",)),
    "bob@example.org": ("beta", ("bob@example.org", "#lab")),
}
MOST_WAITING = 8
"""Papers announced and not yet told, beyond which no more come: a message names so many and only counts the rest."""


class Soak:
    WAYS: ClassVar = {
        "kill_role": 70, "flush": 10, "kill_broker": 7, "stop_database": 12, "kill_keeper": 8, "kill_up": 6,
    }  # fmt: skip
    """With how often each is taken; the last three end everything at once."""

    def __init__(self, one: Service, seed: int) -> None:
        self.one, self.dice = one, random.Random(seed)
        self.expected: set[Told] = set()
        self.hits: dict[str, int] = {}
        self.db = Database(json.loads((one.data_dir / "run" / "up.json").read_text())["database_url"])
        self._numbers = count(30_000)
        self._came = 0

    def announce(self) -> None:
        """One to three papers on a topic, stored for certain: what may have failed is done again."""
        if len(self.expected - oracle.told(self.messages())) >= MOST_WAITING:
            return
        topic = self.dice.choice(("alpha", "beta"))
        tokens = [f"P{next(self._numbers)}" for _ in range(self.dice.randint(1, 3))]
        entries = tuple(
            Entry(title=f"{token} about {topic}", identifiers=(Identifier("arxiv", f"2605.{token[1:]}"),))
            for token in tokens
        )
        listing = Listing(format="test", entries=entries, announced_on=date(2026, 5, 4))
        until(lambda: self._stored(listing), "the database takes papers", 120)
        wanted = {channel for about, channels in READERS.values() if about == topic for channel in channels}
        self.expected |= {Told(channel, token) for channel in wanted for token in tokens}

    def _stored(self, listing: Listing) -> bool:
        try:
            with self.db.transaction() as tx:
                ingest.store(
                    tx, sources.source_of_imports(tx, "daily-papers"), listing, now=self.db.now(), silent=False
                )
        except DBAPIError:
            self._revive()
            return False
        return True

    def hurt(self) -> None:
        """Ends something; what takes everything along only after a message came through since the last time."""
        came = len(self.messages())
        ways = list(self.WAYS)[: None if came > self._came else 3]
        (way,) = self.dice.choices(ways, weights=[self.WAYS[one] for one in ways])
        if way not in ways[:3]:
            self._came = came
        with suppress(psutil.NoSuchProcess, ProcessLookupError, redis.RedisError, FileNotFoundError):
            getattr(self, way)()
            self.hits[way] = self.hits.get(way, 0) + 1
        self._revive()

    def kill_role(self) -> None:
        """A worker, the scheduler, the page, or a child of theirs."""
        if victims := [one for one in self._tree() if "keeper" not in " ".join(one.cmdline())]:
            self.dice.choice(victims).kill()

    def kill_keeper(self) -> None:
        for one in psutil.process_iter(["cmdline"]):
            line = one.info["cmdline"] or []
            if "services.local.server_process" in line and str(self.one.data_dir) in line and self.dice.random() < 0.5:
                one.kill()

    def flush(self) -> None:
        self.one.flush()

    def kill_broker(self) -> None:
        for one in processes_in("valkey-server", self.one.data_dir / "valkey"):
            one.kill()

    def stop_database(self) -> None:
        for one in without_children(processes_in("postgres", self.one.data_dir / "postgres")):
            one.send_signal(self.dice.choice((signal.SIGQUIT, signal.SIGKILL)))

    def kill_up(self) -> None:
        """`up` and everything that it started, as a power cut would."""
        tree = [self.one.up.pid, *(one.pid for one in self._tree())] if self.one.up else []
        for pid in tree:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _tree(self) -> list[psutil.Process]:
        assert self.one.up is not None
        return psutil.Process(self.one.up.pid).children(recursive=True)

    def _revive(self) -> None:
        """Starts `up` again when it is gone, as a service manager would."""
        if self.one.up is not None and self.one.up.poll() is not None:
            self.one.spawn()

    def messages(self) -> list[oracle.Message]:
        return oracle.received(self.one.smtp, self.one.slack)

    def settled(self) -> bool:
        self._revive()
        if not self.expected <= oracle.told(self.messages()):
            return False
        open_ones = "SELECT count(*) FROM delivery WHERE state IN ('pending', 'claimed', 'sending')"
        doubtful = "SELECT count(*) FROM delivery WHERE state = 'uncertain' AND next_attempt_at IS NOT NULL"
        try:
            with self.db.transaction() as tx:
                waits = any(tx.scalars(text(question)).one() for question in (open_ones, doubtful))
                return not waits and audit(tx, self.db.now() + SOON).clean
        except DBAPIError:
            return False

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """An answer, when the database is there to give one."""
        found: list[tuple[Any, ...]] = []

        def asked() -> bool:
            with suppress(DBAPIError), self.db.transaction() as tx:
                found[:] = [tuple(row) for row in tx.execute(text(sql))]
                return True
            return False

        until(asked, "the database answers", 120)
        return found


def soaked(folder: Path, seconds: float, seed: int) -> Soak:
    with service(folder / "data", PAPERWIRE_TIME_SCALE="0.0333") as one:
        for address, (topic, channels) in READERS.items():
            one.cli("user", "add", address)
            to = [word for name in channels for word in ("--to", f"slack:{name}" if name[0] == "#" else "email")]
            one.cli("subscribe", address, "--name", topic, "--query", topic, "--cadence", "immediate", *to)
        one.start()
        soak = Soak(one, seed)
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                soak.announce()
                soak.hurt()
                time.sleep(soak.dice.uniform(0.05, 3.0))
            until(soak.settled, "everything is sent and nothing waits", 300)
            oracle.judge(soak.expected, soak.messages(), doubtful=soak.rows(oracle.DOUBTFUL)[0][0])
            one.cli("audit")
        except AssertionError:
            print(one.log.read_text(errors="replace")[-8000:])
            print("missing:", sorted(soak.expected - oracle.told(soak.messages())), "hits:", soak.hits)
            print(soak.rows("SELECT id, state, attempt, expired_leases, error FROM delivery WHERE state <> 'sent'"))
            raise
        finally:
            soak.db.close()
    return soak


@pytest.mark.processes
@pytest.mark.timeout(480)
def test_row_28_a_short_soak_ends_with_the_oracle_clean(tmp_path: Path) -> None:
    soak = soaked(tmp_path, 25, seed=28)
    assert len(soak.expected) >= 6
    assert sum(soak.hits.values()) >= 8


@pytest.mark.processes
@pytest.mark.faults
@pytest.mark.timeout(7200)
def test_row_28_a_long_soak_ends_with_the_oracle_clean(
    tmp_path: Path, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds, seed = pytestconfig.getoption("soak"), pytestconfig.getoption("soak_seed")
    soak = soaked(tmp_path, seconds, seed)
    assert len(soak.expected) >= seconds / 5, "too little was told to say that nothing is lost"
    assert sum(soak.hits.values()) >= seconds / 10
    assert len(soak.hits) == len(soak.WAYS) or seconds < 300, "every way to hurt was taken"
    copies = len(soak.messages()) - len(oracle.copies(soak.messages()))
    with capsys.disabled():
        print(f"\nsoak of {seconds} s, seed {seed}: {len(soak.expected)} told, {copies} copies, {soak.hits}")
