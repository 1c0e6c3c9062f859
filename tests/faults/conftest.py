"""Real servers for all, a rig for each test, and sinks that say yes unless told otherwise."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.nursery import Nursery
from tests.faults.rig import SCALE, Rig
from tests.faults.servers import Servers, servers
from tests.service import POST
from tests.sinks import Answer, HttpSink, SmtpSink

MakeRig = Callable[..., Rig]


@pytest.fixture(scope="session")
def running_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with servers(tmp_path_factory.mktemp("faults") / "data") as both:
        yield both


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with Nursery() as one:
        yield one


@pytest.fixture
def make_rig(running_servers: Servers, nursery: Nursery, tmp_path: Path) -> Iterator[MakeRig]:
    made: list[Rig] = []
    with SmtpSink() as smtp, HttpSink() as slack:
        slack.always(POST, Answer(body='{"ok": true, "ts": "1.2", "channel": "C1"}'))

        def make(scale: float = SCALE, **env: str) -> Rig:
            made.append(Rig(running_servers, nursery, tmp_path, smtp, slack, scale, env))
            return made[-1]

        try:
            yield make
        finally:
            for rig in made:
                rig.close()


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    return make_rig()
