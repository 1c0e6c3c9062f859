"""No alert is lost or sent twice by real processes: imports, a flushed broker, killed workers."""

import email
import email.policy
import os
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path
from typing import cast

import psutil
import pytest

from tests.support.service import POST, SAMPLE, Service, service, until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]

HEAD, *PAPERS = re.split(r"(?<=\d\n)\n", SAMPLE.read_text(), maxsplit=0)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("service") / "data", PAPERWIRE_TIME_SCALE="0.1") as one:
        one.cli("user", "add", "ada@example.org")
        to = ["--cadence", "immediate", "--to", "email", "--to", "slack:#papers"]
        one.cli("subscribe", "ada@example.org", "--name", "Models", "--query", "model*", *to)
        one.cli("subscribe", "ada@example.org", "--name", "Agents", "--interest", "language model agents", *to)
        one.start()
        yield one


def listing(tmp_path: Path, number: int) -> str:
    """The sample with every title changed, so that all its papers are new."""
    text = re.sub(r"(?m)^(?=[A-Z].{20,300}$)(?=.*\n\n.{200,})", f"Part {number}: ", SAMPLE.read_text())
    path = tmp_path / f"listing-{number}.txt"
    path.write_text(text)
    return str(path)


def body_of(mail: bytes) -> str:
    message = cast(EmailMessage, email.message_from_bytes(mail, policy=email.policy.default))
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def test_an_import_sends_one_message_a_channel_and_a_second_import_none(running: Service, tmp_path: Path) -> None:
    found = running.json("import", str(SAMPLE))
    assert found["new"] == found["found"] > 60
    until(running.settled, "everything is sent", 90)
    assert len(running.smtp.mails) == 1
    assert len([one for one in running.slack.to(POST) if b"thread_ts" not in one.body]) == 1
    mail = body_of(running.smtp.mails[0].body)
    assert "Models" in mail
    assert "Agents" in mail
    again = running.json("import", str(SAMPLE))
    assert (again["new"], again["known"]) == (0, found["found"])
    running.cli("audit")
    assert len(running.smtp.mails) == 1
    assert sorted(running.sent()) == sorted(running.wanted())


def test_a_flushed_broker_loses_no_paper(running: Service, tmp_path: Path) -> None:
    new = running.json("import", listing(tmp_path, 1))["new"]
    assert new > 60
    for _ in range(20):
        running.flush()
        time.sleep(0.25)  # While the stages work, so that some of their messages are lost.
    until(running.settled, "everything is sent", 90)
    assert len(running.sent()) == len(set(running.sent()))


def test_killed_workers_lose_no_paper_and_send_none_twice(running: Service, tmp_path: Path) -> None:
    before = len(running.smtp.mails)
    assert running.json("import", listing(tmp_path, 2))["new"] > 60
    dice = random.Random(7)
    for _ in range(4):
        time.sleep(1.5)  # So that every stage has a worker that may be killed.
        victims = running.workers()
        if victims:
            with suppress(psutil.NoSuchProcess):
                dice.choice(victims).send_signal(signal.SIGKILL)
    until(running.settled, "everything is sent", 120)
    assert len(running.sent()) == len(set(running.sent()))
    assert 1 <= len(running.smtp.mails) - before <= 2, "the papers may come in two messages"


def test_after_sigkill_of_every_process_the_next_start_continues(running: Service, tmp_path: Path) -> None:
    assert running.json("import", listing(tmp_path, 3))["new"] > 60
    assert running.up is not None
    tree = [running.up.pid, *(one.pid for one in psutil.Process(running.up.pid).children(recursive=True))]
    for pid in tree:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    running.up.wait(10)
    running.log.write_bytes(b"")
    running.start()
    until(running.settled, "everything is sent", 120)
    assert len(running.sent()) == len(set(running.sent()))


def test_a_worker_killed_before_recording_the_answer_causes_one_copy_at_most(tmp_path: Path) -> None:
    with service(tmp_path / "data", PAPERWIRE_TIME_SCALE="0.004", FAULT="answered") as one:
        one.cli("user", "add", "ada@example.org")
        one.cli("subscribe", "ada@example.org", "--name", "Models", "--query", "agent*", "--cadence", "immediate")
        one.start()
        one.cli("import", str(SAMPLE))
        spent = "SELECT count(*) FROM delivery WHERE state = 'uncertain' AND next_attempt_at IS NULL"
        until(lambda: one.query(spent)[0][0] == 1, "the only resend was made", 120)
        time.sleep(3)  # Six sweeps, the first of which would send a third copy.
        assert len(one.smtp.mails) == 2
        assert one.smtp.mails[0].body == one.smtp.mails[1].body
