"""The HTTP server: uvicorn with limits on slow and on many connections, and the proxies that it believes."""

import asyncio
import resource
from collections import Counter
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, ClassVar

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from services.settings import Settings

HEAD_SECONDS = 10.0
"""From the opening of a connection, or the end of a response, to the last header of the next request."""
BODY_SECONDS = 20.0
"""From the last header to the end of the body. The largest form has 100 kB."""
RESPONSE_SECONDS = 120.0
"""From the end of the request until the receiver has taken the response."""
KEEP_ALIVE_SECONDS = 5
SHUTDOWN_SECONDS = 3
"""The time that open requests have to finish when the web process stops."""
MAX_CONNECTIONS = 500
MAX_CONNECTIONS_OF_ADDRESS = 50
"""Of one client. Proxies are exempt, since all people come from them."""
BACKLOG = 128
"""Connections that wait for `accept`. At the limit of open files, asyncio logs a line for each of them every second."""
FILES_BESIDE_CONNECTIONS = 200
"""Open files that the process needs for the database, its modules and its log."""


class BoundedProtocol(H11Protocol):
    """Closes a connection that takes too long to send its request or to take the response."""

    _timer: asyncio.TimerHandle | None = None
    _timed_state: Any = None
    _address = ""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    open_of_address: ClassVar[Counter[str]] = Counter()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self.open_of_address[self._address] += 1
        own = 0 if self._is_proxy() else self.open_of_address[self._address]
        if len(self.connections) > max_connections() or own > MAX_CONNECTIONS_OF_ADDRESS:
            transport.abort()
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.open_of_address[self._address] -= 1
        if not self.open_of_address[self._address]:
            del self.open_of_address[self._address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        """Starts the time limit of the connection's state, unless the limit of this state runs already."""
        state = self.conn.their_state
        if state is self._timed_state and self._timer is not None:
            return
        self._stop_timer()
        self._timed_state = state
        seconds = {h11.IDLE: HEAD_SECONDS, h11.SEND_BODY: BODY_SECONDS}.get(state, RESPONSE_SECONDS)
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_proxy(self) -> bool:
        try:
            address = ip_address(self._address)
        except ValueError:  # a Unix socket
            return True
        return any(address in network for network in self.trusted_proxies)


def max_connections() -> int:
    """MAX_CONNECTIONS, or fewer where the limit of open files is lower."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        MAX_CONNECTIONS if files == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, files - FILES_BESIDE_CONNECTIONS)
    )


def serve(settings: Settings, port: int) -> None:
    """Serves the pages until the process is told to stop."""
    _raise_file_limit()
    BoundedProtocol.trusted_proxies = settings.proxy_networks
    trusted = [str(network) for network in settings.proxy_networks]
    uvicorn.run(
        "services.web.app:create_app",
        factory=True,
        host=settings.bind,
        port=port,
        http=BoundedProtocol,
        ws="none",
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        # X-Forwarded-For and -Proto are read from these alone. The client is the last address that is none of them.
        proxy_headers=bool(trusted),
        forwarded_allow_ips=trusted,
        log_config=None,
        # Without warnings, of which every garbled request would write one.
        log_level="error",
        access_log=False,
    )


def _raise_file_limit() -> None:
    wanted = MAX_CONNECTIONS + FILES_BESIDE_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            new = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (new, hard))
