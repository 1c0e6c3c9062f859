"""One HTTP request of Slack's SDK: one connection, no redirect, no proxy from the environment."""

import ssl
import threading
from collections.abc import Callable
from functools import cache
from http.client import HTTPConnection, HTTPMessage, HTTPResponse, HTTPSConnection
from typing import IO
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

from services.settings import settings

MAX_ANSWER = 1 << 20
"""Bytes of an answer that are read."""


class Unreached(OSError):
    """No connection was made, so nothing was sent."""


class _Http(HTTPConnection):
    def connect(self) -> None:
        _reached(super().connect)


class _Https(HTTPSConnection):
    def connect(self) -> None:
        _reached(super().connect)


def _reached(connect: Callable[[], None]) -> None:
    try:
        connect()
    except OSError as error:
        raise Unreached(*error.args) from error


class _Plain(HTTPHandler):
    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_Http, req)


class _Encrypted(HTTPSHandler):
    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_Https, req, context=_tls())


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """None makes the redirect an HTTPError: urllib would send the token to the host that the redirect names."""
        return None


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


_opening = threading.Lock()
"""Reading the machine's certificates takes longer than sending a message, so only the first thread reads them."""


def _opener() -> OpenerDirector:
    with _opening:
        return _made_opener()


@cache
def _made_opener() -> OpenerDirector:
    return build_opener(ProxyHandler({}), _Plain(), _Encrypted(), _NoRedirect())


def send(request: Request) -> tuple[int, HTTPMessage, str]:
    """The answer's status, headers and body.

    Raises HTTPError for a status other than 2xx, and URLError with the reason Unreached when no connection is made.
    """
    with _opener().open(request, timeout=_timeout()) as response:
        return response.status, response.headers, response.read(MAX_ANSWER).decode("utf-8", "replace")


def _timeout() -> float:
    return max(1.0, 15.0 * settings().time_scale)
