"""The only fetcher: conditional GET, caps on size and time, and no way into the network it runs in."""

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from threading import Thread

import httpcore2
import httpx2

from services.domain.address import Address, AllowList, NotAllowed, check_addresses, check_url
from services.domain.encoding import ACCEPTED, Damaged, TooLarge, undo
from services.domain.freshness import max_age, retry_after, validator
from services.ports import Request

LARGEST_BODY = 10 * 1024 * 1024
MOST_REDIRECTS = 5
ADDRESSES_TRIED = 3

_PERMANENT = (301, 308)
_REDIRECTS = (301, 302, 303, 307, 308)
_CREDENTIALS = ("authorization", "cookie", "proxy-authorization")

Responder = Callable[[httpx2.Request], httpx2.Response]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A whole answer. `permanent_url`: where the server says to ask from now on; `max_age` in seconds."""

    body: bytes
    content_type: str
    url: str
    permanent_url: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    max_age: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotModified:
    max_age: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """No answer to use. `reason` holds no address and no secret; `gone`: the server says it is gone for good."""

    reason: str
    retry_after: float | None = None
    gone: bool = False


class Fetcher:
    """`transport`, a function from request to response, takes the network's place."""

    def __init__(self, *, user_agent: str, allow_hosts: Sequence[str] = (), transport: Responder | None = None) -> None:
        self._headers = {"User-Agent": user_agent, "Accept": "*/*", "Accept-Encoding": ACCEPTED}
        self._allowed = AllowList.parse(allow_hosts)
        self._responder = transport
        self._tls = httpx2.create_ssl_context(trust_env=False)

    def fetch(
        self, request: Request, *, etag: str | None = None, last_modified: str | None = None
    ) -> Fetched | NotModified | Failed:
        headers = {**self._headers, **request.headers}
        headers |= {"If-None-Match": etag} if etag else {}
        headers |= {"If-Modified-Since": last_modified} if last_modified else {}
        try:
            with self._transport(request.timeout) as transport:
                return _follow(transport, self._allowed, request.url, headers, asked=bool(etag or last_modified))
        except NotAllowed as error:
            return Failed(reason=str(error))
        except TooLarge:
            return Failed(reason=f"the answer is larger than {LARGEST_BODY // 1024**2} MiB")
        except Damaged as error:
            return Failed(reason=f"the answer is {error}")
        except httpx2.TimeoutException:
            return Failed(reason=f"no complete answer within {request.timeout:g} s")
        except httpx2.ConnectError:
            return Failed(reason="no connection: the name is unknown, nobody answers, or the certificate is not valid")
        except (httpx2.HTTPError, httpx2.InvalidURL):
            return Failed(reason="the connection broke, or what came is not HTTP")

    def _transport(self, timeout: float) -> httpx2.BaseTransport:
        if self._responder:
            return httpx2.MockTransport(self._responder)
        return GuardedTransport(self._allowed, timeout, self._tls)


def check_address(url: str, allow_hosts: Sequence[str] = ()) -> None:
    """Raises NotAllowed for an address that could never be asked; a name is judged when it is, by GuardedTransport."""
    check_url(url, AllowList.parse(allow_hosts))


def _follow(
    transport: httpx2.BaseTransport, allowed: AllowList, url: str, headers: Mapping[str, str], *, asked: bool
) -> Fetched | NotModified | Failed:
    """Asks, and asks where it is sent; every hop is checked anew."""
    permanent: str | None = None
    lasting = True
    for _ in range(MOST_REDIRECTS + 1):
        check_url(url, allowed)
        response = transport.handle_request(httpx2.Request("GET", url, headers=headers))
        try:
            target = response.headers.get("location")
            if response.status_code not in _REDIRECTS or not target:
                return _answer(response, url, permanent, asked=asked)
            there = httpx2.URL(url).join(target).copy_with(fragment=None)
        finally:
            response.close()
        if _origin(there) != _origin(httpx2.URL(url)):
            headers = {name: value for name, value in headers.items() if name.lower() not in _CREDENTIALS}
        url = str(there)
        lasting = lasting and response.status_code in _PERMANENT
        permanent = url if lasting else permanent
    return Failed(reason=f"more than {MOST_REDIRECTS} redirects")


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _answer(
    response: httpx2.Response, url: str, permanent: str | None, *, asked: bool
) -> Fetched | NotModified | Failed:
    headers, status = response.headers, response.status_code
    if status == 304 and asked:
        return NotModified(max_age=max_age(headers.get("cache-control", "")))
    if status != 200:
        wait = retry_after(headers.get("retry-after", ""), datetime.now(UTC))
        return Failed(reason=f"the server answered {status}", retry_after=wait, gone=status == 410)
    if headers.get("content-length", "").isdecimal() and int(headers["content-length"][:20]) > LARGEST_BODY:
        raise TooLarge
    return Fetched(
        body=undo(_stream(response), headers.get("content-encoding", ""), LARGEST_BODY),
        content_type=headers.get("content-type", "")[:200],
        url=url,
        permanent_url=permanent,
        etag=validator(headers.get("etag")),
        last_modified=validator(headers.get("last-modified")),
        max_age=max_age(headers.get("cache-control", "")),
    )


def _stream(response: httpx2.Response) -> Iterator[bytes]:
    assert isinstance(response.stream, httpx2.SyncByteStream)
    yield from response.stream


# ── the guarded network ───────────────────────────────────────────────────────────────────────────────────────


class GuardedTransport(httpx2.BaseTransport):
    """Asks only addresses that may be asked, and is done `timeout` seconds after it was made, whatever the server does.

    The connection goes to the very address that was checked, so a name cannot mean another one a moment later.
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
        """Seconds; raises when there are none: the timeouts of single reads never end a slow drip."""
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
        failure: Exception = httpcore2.ConnectError("nobody answers")
        for number, address in enumerate(addresses[:ADDRESSES_TRIED], 1):
            # A dead address must leave time for the next one.
            patience = self._deadline.left() / (1 if number == len(addresses) else 2)
            try:
                stream = self._network.connect_tcp(str(address), port, patience, local_address, socket_options)
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
    """Every address of a name. Asked in a thread of its own, since the system's resolver knows no time limit."""
    answer: SimpleQueue[list[Address] | None] = SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            answer.put([ip_address(entry[4][0]) for entry in found])
        except (OSError, ValueError):
            answer.put(None)

    Thread(target=ask, daemon=True, name="resolve").start()
    try:
        addresses = answer.get(timeout=seconds)
    except Empty:
        raise httpcore2.ConnectTimeout("the name server does not answer") from None
    if not addresses:
        raise httpcore2.ConnectError("the name is unknown")
    return list(dict.fromkeys(addresses))
