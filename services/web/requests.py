"""What every request passes before its handler: the check of its host, and HEAD as a GET without a body."""

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.web.auth import host_name, host_of, is_loopback
from services.web.error_pages import problem

FOR_PROGRAMS = frozenset({"/healthz", "/readyz", "/metrics", "/bounces"})
"""Paths that monitoring and mail servers may request under any name of this host. No browser page is among them."""
HEAD = "paperwire.head"
"""The key of the scope that tells a handler that its GET is a HEAD, which must not change anything."""


class CheckedHost:
    """Rejects a page under another name than that of the base URL, such as one that DNS rebinding points here."""

    def __init__(self, app: ASGIApp, base_url: str) -> None:
        self._app = app
        self._name = host_of(base_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in FOR_PROGRAMS or self._is_own(Headers(scope=scope)):
            await self._app(scope, receive, send)
        else:
            text = "This server has another name. Open the pages at the address in PAPERWIRE_BASE_URL."
            await problem(400, text)(scope, receive, send)

    def _is_own(self, headers: Headers) -> bool:
        # A proxy on this machine may send the loopback address, which no other site can have as its name.
        name = host_name(headers.get("host", ""))
        return name == self._name or is_loopback(name)


class HeadAsGet:
    """Answers HEAD with the status and headers of GET (RFC 9110, 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        if scope["type"] == "http" and scope["method"] == "HEAD":
            await self._app({**scope, "method": "GET", HEAD: True}, receive, without_body)
        else:
            await self._app(scope, receive, send)


def install(app: FastAPI, base_url: str) -> None:
    app.add_middleware(HeadAsGet)
    app.add_middleware(CheckedHost, base_url=base_url)
