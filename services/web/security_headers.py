"""Security headers of every response."""

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "frame-ancestors 'self'"
)
"""The policy of a mail shown as a page: inline styles only, no scripts, no requests, links open in new tabs."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    # Keeps URLs, such as sign-in links, from other sites. With `no-referrer`, browsers would post `Origin: null`.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
HTTPS_HEADERS = {"Strict-Transport-Security": "max-age=31536000"}


def add(headers: MutableHeaders, path: str, *, is_https: bool) -> None:
    """Adds each header that the response to a request for `path` does not set itself."""
    for name, value in {**HEADERS, **(HTTPS_HEADERS if is_https else {})}.items():
        headers.setdefault(name, value)
    # Pages show what belongs to one person; a cache must not keep them after the sign-out.
    headers.setdefault("Cache-Control", "no-cache" if path.startswith("/static/") else "no-store")


class SecurityHeaders:
    """Adds the headers to every response of the application but that to an unexpected error."""

    def __init__(self, app: ASGIApp, is_https: bool) -> None:
        self._app = app
        self._is_https = is_https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                add(MutableHeaders(scope=message), scope["path"], is_https=self._is_https)
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


def install(app: FastAPI, *, is_https: bool) -> None:
    app.add_middleware(SecurityHeaders, is_https=is_https)
