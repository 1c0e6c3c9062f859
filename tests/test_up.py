"""The whole service as processes, started in a directory with packages of the same names."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import psutil
import pytest

from .local.processes import until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]
START_SECONDS, END_SECONDS, DELIVERY_SECONDS = 60.0, 10.0, 120.0


class Service:
    """`paperwire` on one data directory. `clear` kills all its processes."""

    def __init__(self, folder: Path) -> None:
        self.data_dir, self.port, self.cwd = folder / "data", _free_port(), folder / "elsewhere"
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PAPERWIRE_")}
        self.environment = {**environment, "PAPERWIRE_DATA_DIR": str(self.data_dir), "PAPERWIRE_TIMEZONE": "UTC"}
        for name in ("services", "workers"):
            (self.cwd / name).mkdir(parents=True)
            (self.cwd / name / "__init__.py").write_text("raise SystemExit('the wrong package')")

    def up(self) -> None:
        """Starts the service and waits until it is ready."""
        words = ("up", "--sample", "--port", str(self.port), "--data-dir", str(self.data_dir))
        with self.log.open("wb") as log:
            command = [sys.executable, "-P", "-m", "services.cli", *words]
            self.process = subprocess.Popen(command, cwd=self.cwd, env=self.environment, stdout=log, stderr=log)
        until(lambda: "mails in:" in self.log_text(), "the service is ready", START_SECONDS)

    def log_text(self) -> str:
        text = self.log.read_text(errors="replace")
        assert self.process is None or self.process.poll() is None, text
        return text

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-P", "-m", "services.cli", *words]
        options: dict[str, Any] = {"cwd": self.cwd, "env": self.environment, "capture_output": True, "text": True}
        return subprocess.run(command, timeout=60, check=False, **options)

    def deliveries(self) -> list[dict[str, Any]]:
        done = self.run("deliveries", "--json")
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        process, self.process = self.process, None
        process.send_signal(number)
        return process.wait(END_SECONDS)

    def left(self) -> list[psutil.Process]:
        """The processes of the data directory: roles have it in their environment, servers as working directory."""
        found = []
        for process in psutil.process_iter():
            try:
                is_role = process.environ().get("PAPERWIRE_DATA_DIR") == str(self.data_dir)
                if is_role or process.cwd().startswith(str(self.data_dir)):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def clear(self) -> None:
        for process in self.left():
            process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    yield service
    service.clear()


def _page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def _check_digest(service: Service) -> None:
    [file] = (service.data_dir / "outbox").glob("*.eml")
    mail = message_from_bytes(file.read_bytes(), policy=default)
    body = mail.get_body(("html",))
    assert body is not None
    html = body.get_content()
    assert f"http://127.0.0.1:{service.port}/" in html
    assert "Language model agents" in html
    assert "close to your interest" in html
    assert re.search("in the (title|abstract)", html)


def test_the_service_delivers_its_sample_once_through_stops_and_kills(service: Service) -> None:
    service.up()
    link = re.search(r"http://127\.0\.0\.1:\d+/signin\?key=\S+", service.log_text())
    assert link
    assert "<html" in _page(link[0])
    until(lambda: "digest:  read it at" in service.log_text(), "the digest is delivered", DELIVERY_SECONDS)
    _check_digest(service)
    [sent] = service.deliveries()
    assert sent["state"] == "sent"
    assert len(sent["papers"]) >= 3

    second = service.run("up", "--port", str(_free_port()))
    assert (second.returncode, second.stdout) == (1, "")
    assert re.fullmatch(r"error: paperwire is already running on .*\n", second.stderr)

    assert service.end(signal.SIGTERM) == 0
    until(lambda: not service.left(), "every process has ended", pause=0.2)

    service.up()
    assert link[0] not in service.log_text()
    service.end(signal.SIGKILL)
    service.up()
    until(lambda: "scheduler active" in service.log_text(), "the scheduler is active")
    assert service.run("audit").returncode == 0
    assert service.deliveries() == [sent]
    assert len(list((service.data_dir / "outbox").glob("*.eml"))) == 1
    assert service.end(signal.SIGINT) == 0
    until(lambda: not service.left(), "every process has ended", pause=0.2)
