"""A database that takes connections and never answers, as behind a broken network or when its server is stopped."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from sqlalchemy.engine import make_url
from starlette.testclient import TestClient

from services.settings import settings as process_settings
from services.web.app import create_app
from tests.web.conftest import Browser, Site, text_of

LIMIT_SECONDS = 15.0
"""Far above the limits of the pages (4 s), and far below the minutes that TCP waits."""


class Relay:
    """Passes bytes between clients and the database until `hang` is set; then it keeps all connections open."""

    def __init__(self, socket_path: str) -> None:
        self._target = socket_path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.hang = threading.Event()
        self._open: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for one in self._open:
            with suppress(OSError):
                one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                if not self.hang.is_set():
                    server = socket.socket(socket.AF_UNIX)
                    server.connect(self._target)
                    self._open.append(server)
                    for pair in ((client, server), (server, client)):
                        threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self.hang.is_set():
                    return
                target.sendall(data)


@pytest.fixture
def relay(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    url = make_url(site.settings.database_url.get_secret_value())
    relay = Relay(f"{url.query['host']}/.s.PGSQL.{url.port or 5432}")
    through = url.difference_update_query(["host", "port"]).set(host="127.0.0.1", port=relay.port)
    monkeypatch.setenv("PAPERWIRE_DATABASE_URL", through.render_as_string(hide_password=False))
    process_settings.cache_clear()
    yield relay
    relay.close()


def test_pages_say_so_and_health_checks_answer_while_the_database_hangs(site: Site, relay: Relay) -> None:
    app = create_app()
    with TestClient(app, base_url="http://127.0.0.1:8400") as client:
        assert client.get("/readyz").status_code == 200
        browser = Browser(app, "the key of a session")
        assert browser.get("/matches").status_code == 303
        relay.hang.set()
        began = time.monotonic()
        answer = browser.get("/matches")
        assert (answer.status_code, "does not answer in time" in text_of(answer)) == (503, True)
        assert client.get("/readyz").text == "the database does not answer\n"
        assert client.get("/healthz").status_code == 200
        assert time.monotonic() - began < LIMIT_SECONDS
