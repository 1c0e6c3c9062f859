"""Shared real servers, a harness for each test, and sinks that accept everything unless scripted otherwise."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.fork_server import ForkServer
from tests.faults.harness import SCALE, FaultHarness
from tests.faults.servers import Servers, servers
from tests.support.service import POST
from tests.support.sinks import Answer, HttpSink, SmtpSink

MakeHarness = Callable[..., FaultHarness]


@pytest.fixture(scope="session")
def running_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with servers(tmp_path_factory.mktemp("faults") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    with ForkServer() as running:
        yield running


@pytest.fixture
def make_harness(running_servers: Servers, fork_server: ForkServer, tmp_path: Path) -> Iterator[MakeHarness]:
    made: list[FaultHarness] = []
    with SmtpSink() as smtp, HttpSink() as slack:
        slack.always(POST, Answer(body='{"ok": true, "ts": "1.2", "channel": "C1"}'))

        def make(scale: float = SCALE, **env: str) -> FaultHarness:
            made.append(FaultHarness(running_servers, fork_server, tmp_path, smtp, slack, scale, env))
            return made[-1]

        try:
            yield make
        finally:
            for harness in made:
                harness.close()


@pytest.fixture
def harness(make_harness: MakeHarness) -> FaultHarness:
    return make_harness()
