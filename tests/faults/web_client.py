"""A browser's requests to the web process under test, with the time that each response took."""

import re
import time
import urllib.error
import urllib.request
from typing import NamedTuple
from urllib.parse import urlencode

from services.store.accounts import sessions
from services.store.db.database import Database
from services.web.auth import COOKIE, Sessions
from tests.faults.role import Role


class PageResponse(NamedTuple):
    """`status` is 0 if no response came."""

    status: int
    text: str
    seconds: float


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class WebClient:
    def __init__(self, role: Role, port: int, key: str, db: Database) -> None:
        self.role, self._db, self.base = role, db, f"http://127.0.0.1:{port}"
        self._sessions = Sessions([key])
        self._session = self._sessions.new()
        self._opener = urllib.request.build_opener(_NoRedirects)

    def sign_in(self, account: int) -> "WebClient":
        with self._db.transaction() as tx:
            self._session = self._sessions.new(sessions.start(tx, account))
        return self

    def get(self, path: str) -> PageResponse:
        return self._ask(path)

    def post(self, path: str, **fields: str) -> PageResponse:
        token = self._sessions.form_token(self._session)
        return self._ask(path, urlencode({"token": token, **fields}).encode())

    def _ask(self, path: str, body: bytes | None = None) -> PageResponse:
        headers = {"Cookie": f"{COOKIE}={self._sessions.write(self._session)}", "Origin": self.base}
        started_at = time.monotonic()
        try:
            with self._opener.open(urllib.request.Request(self.base + path, body, headers), timeout=30) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                status, text = error.code, error.read().decode()
        except OSError:
            status, text = 0, ""
        return PageResponse(status, " ".join(re.sub(r"<[^>]+>", " ", text).split()), time.monotonic() - started_at)
