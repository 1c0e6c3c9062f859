"""The only fetcher: conditional GET, caps on size and time, and no way into the network it runs in."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx2

from services.domain.http.caching import max_age, retry_after, validator
from services.domain.http.content_encoding import ACCEPTED, Damaged, TooLarge, undo
from services.domain.http.ssrf import AllowList, NotAllowed, check_url
from services.http.transport import GuardedTransport
from services.ports import Request

MAX_BODY = 10 * 1024 * 1024
MAX_REDIRECTS = 5

_PERMANENT = (301, 308)
_REDIRECTS = (301, 302, 303, 307, 308)
_UNREACHED = "no connection: the name is unknown, nobody answers, or the certificate is not valid"
_BROKEN = "the connection broke, or what came is not HTTP"
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
    status: int = 0
    """What the server answered; 0 when it did not."""
    retry_after: float | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a POST was answered with; whatever came as a body is of no interest."""

    status: int
    retry_after: float | None = None


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
        asked = bool(etag or last_modified)
        return self._attempt(
            request.timeout, lambda transport: _follow(transport, self._allowed, request.url, headers, asked=asked)
        )

    def ask(
        self, url: str, body: bytes, headers: Mapping[str, str], timeout: float, limit: int = MAX_BODY
    ) -> Fetched | Failed:
        """One POST whose answer is wanted, from where it says and nowhere else: a redirect is a failure."""

        def act(transport: httpx2.BaseTransport) -> Fetched | NotModified | Failed:
            check_url(url, self._allowed)
            request = httpx2.Request("POST", url, headers={**self._headers, **headers}, content=body)
            response = transport.handle_request(request)
            try:
                return _answer(response, url, None, asked=False, limit=limit)
            finally:
                response.close()

        answer = self._attempt(timeout, act)
        assert not isinstance(answer, NotModified), "nothing was asked that may be unchanged"
        return answer

    def _attempt(
        self, timeout: float, act: Callable[[httpx2.BaseTransport], Fetched | NotModified | Failed]
    ) -> Fetched | NotModified | Failed:
        try:
            with self._transport(timeout) as transport:
                return act(transport)
        except NotAllowed as error:
            return Failed(reason=str(error))
        except TooLarge as error:
            return Failed(reason=f"the answer is larger than {error.limit // 1024**2} MiB")
        except Damaged as error:
            return Failed(reason=f"the answer is {error}")
        except httpx2.TimeoutException:
            return Failed(reason=f"no complete answer within {timeout:g} s")
        except httpx2.ConnectError:
            return Failed(reason=_UNREACHED)
        except (httpx2.HTTPError, httpx2.InvalidURL):
            return Failed(reason=_BROKEN)

    def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> Answered | Failed:
        """One POST, to where it says and nowhere else: a redirect is an answer. Raises NotAllowed."""
        check_url(url, self._allowed)
        everything = {**self._headers, "Accept-Encoding": "identity", **headers}
        try:
            with self._transport(timeout) as transport:
                response = transport.handle_request(httpx2.Request("POST", url, headers=everything, content=body))
                wait = retry_after(response.headers.get("retry-after", ""), datetime.now(UTC))
                response.close()  # Unread: its size and its speed are the receiver's own affair.
                return Answered(status=response.status_code, retry_after=wait)
        except httpx2.TimeoutException:
            return Failed(reason=f"no answer within {timeout:g} s")
        except httpx2.ConnectError:
            return Failed(reason=_UNREACHED)
        except (httpx2.HTTPError, httpx2.InvalidURL):
            return Failed(reason=_BROKEN)

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
    for _ in range(MAX_REDIRECTS + 1):
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
    return Failed(reason=f"more than {MAX_REDIRECTS} redirects")


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _answer(
    response: httpx2.Response, url: str, permanent: str | None, *, asked: bool, limit: int = MAX_BODY
) -> Fetched | NotModified | Failed:
    headers, status = response.headers, response.status_code
    if status == 304 and asked:
        return NotModified(max_age=max_age(headers.get("cache-control", "")))
    if status != 200:
        wait = retry_after(headers.get("retry-after", ""), datetime.now(UTC))
        return Failed(reason=f"the server answered {status}", status=status, retry_after=wait, gone=status == 410)
    if headers.get("content-length", "").isdecimal() and int(headers["content-length"][:20]) > limit:
        raise TooLarge(limit)
    return Fetched(
        body=undo(_stream(response), headers.get("content-encoding", ""), limit),
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
