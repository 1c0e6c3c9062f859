"""The whole service as real processes, with sinks for its mail and Slack: for tests that break it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import redis
from sqlalchemy import Engine, create_engine, make_url, text

from services.local import redis_url
from tests.support.sinks import Answer, HttpSink, SmtpSink, refused_port

POST = "/chat.postMessage"
SAMPLE = Path(__file__).parents[2] / "services" / "local" / "sample_announcement.txt"


def until(condition: Callable[[], Any], what: str, seconds: float) -> Any:
    """What `condition` gives as soon as it is true."""
    end = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        assert time.monotonic() < end, f"waited {seconds:g} s in vain until {what}"
        time.sleep(0.1)


class Service:
    """`paperwire up` on a data directory, its sinks, and hands to kill it with."""

    def __init__(self, data_dir: Path, smtp: SmtpSink, slack: HttpSink, **env: str) -> None:
        self.data_dir, self.smtp, self.slack = data_dir, smtp, slack
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PAPERWIRE_")}
        slack_api = f"http://127.0.0.1:{slack.port}/"
        self.env = {
            **inherited,
            "PAPERWIRE_DATA_DIR": str(data_dir),
            "PAPERWIRE_SMTP_URL": smtp.url,
            "PAPERWIRE_SLACK_API_URL": slack_api,
            "PAPERWIRE_SLACK_BOT_TOKEN": "xoxb-test",
            **env,
        }
        self.log = data_dir.parent / "up.log"
        self.up: subprocess.Popen[bytes] | None = None
        self._engine: Engine | None = None

    def start(self) -> None:
        self.spawn()
        until(lambda: b"is ready" in self.log.read_bytes(), "the page is served", 60)

    def spawn(self) -> None:
        """Starts without waiting."""
        with refused_port() as port:
            pass
        with self.log.open("ab") as log:
            command = [sys.executable, "-P", "-m", "services.cli", "up", "--port", str(port)]
            self.up = subprocess.Popen(
                command, env=self.env, stdout=log, stderr=subprocess.STDOUT, cwd=self.data_dir.parent
            )

    def stop(self) -> None:
        self.forget_database()
        if self.up is not None:
            self.up.terminate()
            self.up.wait(15)

    def cli(self, *words: str) -> str:
        command = [sys.executable, "-P", "-m", "services.cli", *words]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.cli(*words, "--json"))

    def workers(self) -> list[psutil.Process]:
        """The worker and scheduler processes, prefork children too."""
        assert self.up is not None
        found = psutil.Process(self.up.pid).children(recursive=True)
        return [one for one in found if _is_worker(one)]

    def flush(self) -> None:
        urls = json.loads((self.data_dir / "run" / "up.json").read_text())
        with redis.Redis.from_url(redis_url(urls["broker_url"])) as broker:
            broker.flushall()

    def query(self, sql: str) -> list[Any]:
        with self._database().connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    def _database(self) -> Engine:
        """Keeps one connection for all questions: who waits asks several of them ten times a second."""
        url = json.loads((self.data_dir / "run" / "up.json").read_text())["database_url"]
        if self._engine is None or self._engine.url != make_url(url):
            self.forget_database()
            # Tested before each use, since tests kill the server.
            self._engine = create_engine(url, pool_size=1, pool_pre_ping=True, isolation_level="AUTOCOMMIT")
        return self._engine

    def forget_database(self) -> None:
        if self._engine is not None:
            self._engine.dispose()

    def wanted(self) -> set[tuple[int, int]]:
        """(channel, paper) of every match."""
        sql = "SELECT DISTINCT channel_id, paper_id FROM match JOIN subscription_channel USING (subscription_id)"
        return set(self.query(sql))

    def sent(self) -> list[tuple[int, int]]:
        sql = (
            "SELECT i.channel_id, i.paper_id FROM delivery_item i JOIN delivery d ON d.id = i.delivery_id "
            "WHERE d.state = 'sent' ORDER BY 1, 2"
        )
        return self.query(sql)

    def settled(self) -> bool:
        """Every paper is matched and every match sent."""
        open_runs = self.query("SELECT count(*) FROM run WHERE matched_at IS NULL")[0][0]
        untold = self.query("SELECT count(*) FROM match WHERE notified_at IS NULL")[0][0]
        return not open_runs and not untold and set(self.sent()) == self.wanted()


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "workers" in process.cmdline()
    except psutil.Error:
        return False


@contextmanager
def service(data_dir: Path, **env: str) -> Iterator[Service]:
    with SmtpSink() as smtp, HttpSink() as slack:
        slack.always(POST, Answer(body='{"ok": true, "ts": "1.2", "channel": "C1"}'))
        one = Service(data_dir, smtp, slack, **env)
        try:
            yield one
        finally:
            one.stop()
