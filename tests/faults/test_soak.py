"""Row 28: papers are announced while processes are killed at random; afterwards every alert has arrived."""

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
from tests.faults.harness import AFTER_AUDIT_GRACE
from tests.faults.oracle import Alert
from tests.support.service import Service, service, until

SUBSCRIBERS = {
    "ada@example.org": ("alpha", ("ada@example.org", "#papers")),
    "eve@example.org": ("alpha", ("eve@example.org",)),
    "bob@example.org": ("beta", ("bob@example.org", "#lab")),
}
MAX_UNSENT = 8
"""No paper is announced while this many are unsent: a message names that many papers and only counts the others."""

SERVER_PROCESS = "services.local.server_process"


class Soak:
    FAULTS: ClassVar = {
        "kill_role": 70, "flush": 10, "kill_broker": 7, "stop_database": 12, "kill_server_process": 8, "kill_up": 6,
    }  # fmt: skip
    """The weight of each fault. The last three stop the whole service."""

    def __init__(self, service: Service, seed: int) -> None:
        self.service, self.random = service, random.Random(seed)
        self.expected: set[Alert] = set()
        self.injected: dict[str, int] = {}
        self.db = Database(json.loads((service.data_dir / "run" / "up.json").read_text())["database_url"])
        self._numbers = count(30_000)
        self._messages_before = 0

    def announce(self) -> None:
        """Announces one to three papers on a topic; repeats the import until it succeeds."""
        if len(self.expected - oracle.alerts_in(self.messages())) >= MAX_UNSENT:
            return
        topic = self.random.choice(("alpha", "beta"))
        tokens = [f"P{next(self._numbers)}" for _ in range(self.random.randint(1, 3))]
        entries = tuple(
            Entry(title=f"{token} about {topic}", identifiers=(Identifier("arxiv", f"2605.{token[1:]}"),))
            for token in tokens
        )
        listing = Listing(format="test", entries=entries, announced_on=date(2026, 5, 4))
        until(lambda: self._stored(listing), "the database accepts papers", 120)
        receiving = {channel for about, channels in SUBSCRIBERS.values() if about == topic for channel in channels}
        self.expected |= {Alert(channel, token) for channel in receiving for token in tokens}

    def _stored(self, listing: Listing) -> bool:
        try:
            with self.db.transaction() as tx:
                ingest.store(
                    tx, sources.source_of_imports(tx, "daily-papers"), listing, now=self.db.now(), silent=False
                )
        except DBAPIError:
            self._restart_up()
            return False
        return True

    def inject_fault(self) -> None:
        """Injects a random fault. One that stops the whole service needs a new message since the last such fault."""
        arrived = len(self.messages())
        faults = list(self.FAULTS)[: None if arrived > self._messages_before else 3]
        (fault,) = self.random.choices(faults, weights=[self.FAULTS[name] for name in faults])
        if fault not in faults[:3]:
            self._messages_before = arrived
        with suppress(psutil.NoSuchProcess, ProcessLookupError, redis.RedisError, FileNotFoundError):
            getattr(self, fault)()
            self.injected[fault] = self.injected.get(fault, 0) + 1
        self._restart_up()

    def kill_role(self) -> None:
        """Kills a process of a worker, the scheduler or the web process."""
        if victims := [process for process in self._tree() if SERVER_PROCESS not in process.cmdline()]:
            self.random.choice(victims).kill()

    def kill_server_process(self) -> None:
        for process in psutil.process_iter(["cmdline"]):
            arguments = process.info["cmdline"] or []
            ours = SERVER_PROCESS in arguments and str(self.service.data_dir) in arguments
            if ours and self.random.random() < 0.5:
                process.kill()

    def flush(self) -> None:
        self.service.flush()

    def kill_broker(self) -> None:
        for process in processes_in("valkey-server", self.service.data_dir / "valkey"):
            process.kill()

    def stop_database(self) -> None:
        for process in without_children(processes_in("postgres", self.service.data_dir / "postgres")):
            process.send_signal(self.random.choice((signal.SIGQUIT, signal.SIGKILL)))

    def kill_up(self) -> None:
        """Kills `up` and every process that it started."""
        tree = [self.service.up.pid, *(process.pid for process in self._tree())] if self.service.up else []
        for pid in tree:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _tree(self) -> list[psutil.Process]:
        assert self.service.up is not None
        return psutil.Process(self.service.up.pid).children(recursive=True)

    def _restart_up(self) -> None:
        """Starts `up` again if it has ended, as a service manager does."""
        if self.service.up is not None and self.service.up.poll() is not None:
            self.service.spawn()

    def messages(self) -> list[oracle.Message]:
        return oracle.received(self.service.smtp, self.service.slack)

    def settled(self) -> bool:
        self._restart_up()
        if not self.expected <= oracle.alerts_in(self.messages()):
            return False
        unsent = "SELECT count(*) FROM delivery WHERE state IN ('pending', 'claimed', 'sending')"
        uncertain = "SELECT count(*) FROM delivery WHERE state = 'uncertain' AND next_attempt_at IS NOT NULL"
        try:
            with self.db.transaction() as tx:
                pending = any(tx.scalars(text(statement)).one() for statement in (unsent, uncertain))
                return not pending and audit(tx, self.db.now() + AFTER_AUDIT_GRACE).clean
        except DBAPIError:
            return False

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query, repeated until the database answers."""
        found: list[tuple[Any, ...]] = []

        def answered() -> bool:
            with suppress(DBAPIError), self.db.transaction() as tx:
                found[:] = [tuple(row) for row in tx.execute(text(sql))]
                return True
            return False

        until(answered, "the database answers", 120)
        return found


def run_soak(folder: Path, seconds: float, seed: int) -> Soak:
    with service(folder / "data", PAPERWIRE_TIME_SCALE="0.0333") as running:
        for address, (topic, channels) in SUBSCRIBERS.items():
            running.cli("user", "add", address)
            to = [option for name in channels for option in ("--to", f"slack:{name}" if name[0] == "#" else "email")]
            running.cli("subscribe", address, "--name", topic, "--query", topic, "--cadence", "immediate", *to)
        running.start()
        soak = Soak(running, seed)
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                soak.announce()
                soak.inject_fault()
                time.sleep(soak.random.uniform(0.05, 3.0))
            until(soak.settled, "everything is sent and nothing is pending", 300)
            oracle.check_alerts(soak.expected, soak.messages(), resent=soak.rows(oracle.RESENT_DELIVERIES)[0][0])
            running.cli("audit")
        except AssertionError:
            print(running.log.read_text(errors="replace")[-8000:])
            print("missing:", sorted(soak.expected - oracle.alerts_in(soak.messages())), "faults:", soak.injected)
            print(soak.rows("SELECT id, state, attempt, expired_leases, error FROM delivery WHERE state <> 'sent'"))
            raise
        finally:
            soak.db.close()
    return soak


@pytest.mark.processes
@pytest.mark.timeout(480)
def test_row_28_a_short_soak_loses_nothing(tmp_path: Path) -> None:
    soak = run_soak(tmp_path, 25, seed=28)
    assert len(soak.expected) >= 6
    assert sum(soak.injected.values()) >= 8


@pytest.mark.processes
@pytest.mark.faults
@pytest.mark.timeout(7200)
def test_row_28_a_long_soak_loses_nothing(
    tmp_path: Path, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds, seed = pytestconfig.getoption("soak"), pytestconfig.getoption("soak_seed")
    soak = run_soak(tmp_path, seconds, seed)
    assert len(soak.expected) >= seconds / 5, "too few papers were announced for the test to mean anything"
    assert sum(soak.injected.values()) >= seconds / 10
    assert len(soak.injected) == len(soak.FAULTS) or seconds < 300, "not every fault was injected"
    copies = len(soak.messages()) - len(oracle.copies(soak.messages()))
    with capsys.disabled():
        print(f"\nsoak of {seconds} s, seed {seed}: {len(soak.expected)} alerts, {copies} copies, {soak.injected}")
