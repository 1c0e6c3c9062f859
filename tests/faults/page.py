"""A person's browser before the web process under test; it says how long each answer took."""

import re
import time
import urllib.error
import urllib.request
from typing import NamedTuple
from urllib.parse import urlencode

from services.web.auth import COOKIE, Sessions
from tests.faults.role import Role


class Answered(NamedTuple):
    """`status` 0: nothing came."""

    status: int
    words: str
    seconds: float


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class Page:
    def __init__(self, role: Role, port: int, key: str) -> None:
        self.role, self.base = role, f"http://127.0.0.1:{port}"
        self._sessions = Sessions(key)
        self._session = self._sessions.new()
        self._opener = urllib.request.build_opener(_Stay)

    def sign_in(self, account: int) -> "Page":
        self._session = self._sessions.new(account)
        return self

    def get(self, path: str) -> Answered:
        return self._ask(path)

    def post(self, path: str, **fields: str) -> Answered:
        token = self._sessions.form_token(self._session)
        return self._ask(path, urlencode({"token": token, **fields}).encode())

    def _ask(self, path: str, body: bytes | None = None) -> Answered:
        headers = {"Cookie": f"{COOKIE}={self._sessions.write(self._session)}", "Origin": self.base}
        began = time.monotonic()
        try:
            with self._opener.open(urllib.request.Request(self.base + path, body, headers), timeout=30) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                status, text = error.code, error.read().decode()
        except OSError:
            status, text = 0, ""
        return Answered(status, " ".join(re.sub(r"<[^>]+>", " ", text).split()), time.monotonic() - began)
