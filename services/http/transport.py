"""A transport for addresses that people enter: it refuses private hosts and keeps a deadline for everything."""

import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from threading import Thread

import httpcore2
import httpx2

from services.domain.http.ssrf import Address, AllowList, check_addresses

MAX_ADDRESSES_TRIED = 3


class GuardedTransport(httpx2.BaseTransport):
    """Connects only to allowed addresses, and ends `timeout` seconds after it was made, whatever the server does.

    It connects to the address that was checked, so that a name cannot resolve to another one a moment later.
    """

    def __init__(self, allowed: AllowList, timeout: float, tls: ssl.SSLContext | None = None) -> None:
        self._pool = httpcore2.ConnectionPool(
            ssl_context=tls or httpx2.create_ssl_context(trust_env=False),
            network_backend=_GuardedNetwork(allowed, _Deadline(timeout)),
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url = httpcore2.URL(
            scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port, target=request.url.raw_path
        )
        content = request.stream if isinstance(request.stream, httpx2.SyncByteStream) else b""
        with _as_httpx():
            answer = self._pool.handle_request(
                httpcore2.Request(request.method, url, headers=request.headers.raw, content=content)
            )
        return httpx2.Response(answer.status, headers=answer.headers, stream=_Body(answer))

    def close(self) -> None:
        self._pool.close()


class _Body(httpx2.SyncByteStream):
    def __init__(self, answer: httpcore2.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


@contextmanager
def _as_httpx() -> Iterator[None]:
    try:
        yield
    except httpcore2.TimeoutException as error:
        raise httpx2.TimeoutException(str(error)) from None
    except httpcore2.ConnectError as error:
        raise httpx2.ConnectError(str(error)) from None
    except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        raise httpx2.TransportError(str(error)) from None


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds. Raises ReadTimeout when none are left, since timeouts of single reads do not end a slow stream."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout("out of time")
        return left


class _GuardedNetwork(httpcore2.NetworkBackend):
    def __init__(self, allowed: AllowList, deadline: _Deadline) -> None:
        self._allowed = allowed
        self._deadline = deadline
        self._network = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        addresses = _resolve(host, self._deadline.left())
        check_addresses(host, port, addresses, self._allowed)
        failure: Exception = httpcore2.ConnectError("no server answers")
        for number, address in enumerate(addresses[:MAX_ADDRESSES_TRIED], 1):
            # An address that does not answer must leave time for the next one.
            connect_timeout = self._deadline.left() / (1 if number == len(addresses) else 2)
            try:
                stream = self._network.connect_tcp(str(address), port, connect_timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                return _TimedStream(stream, self._deadline)
        raise failure


class _TimedStream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, self._deadline.left()), self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def _resolve(host: str, seconds: float) -> list[Address]:
    """Every address of a name. It is looked up in a thread, since the system's resolver has no time limit."""
    answer: SimpleQueue[list[Address] | None] = SimpleQueue()

    def look_up() -> None:
        try:
            entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            answer.put([ip_address(entry[4][0]) for entry in entries])
        except (OSError, ValueError):
            answer.put(None)

    Thread(target=look_up, daemon=True, name="resolve").start()
    try:
        addresses = answer.get(timeout=seconds)
    except Empty:
        raise httpcore2.ConnectTimeout("the name server does not answer") from None
    if not addresses:
        raise httpcore2.ConnectError("the name is unknown")
    return list(dict.fromkeys(addresses))
