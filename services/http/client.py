"""The HTTP client: conditional GET and POST, with limits of size and time and without access to private addresses."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx2

from services.domain.http.caching import max_age, retry_after, validator
from services.domain.http.content_encoding import ACCEPTED, Damaged, TooLarge, undo
from services.domain.http.cookies import CookieJar
from services.domain.http.ssrf import AllowList, NotAllowed, check_url
from services.http.transport import GuardedTransport
from services.ports import Request

MAX_BODY = 10 * 1024 * 1024
"""Bytes, decoded."""
MAX_REDIRECTS = 5

_PERMANENT = (301, 308)
_REDIRECTS = (301, 302, 303, 307, 308)
_UNREACHED = "no connection: the name is unknown, no server answers, or the certificate is not valid"
_BROKEN = "the connection broke, or the answer is not HTTP"
_CREDENTIALS = ("authorization", "cookie", "proxy-authorization")

Responder = Callable[[httpx2.Request], httpx2.Response]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A complete answer."""

    body: bytes
    content_type: str
    url: str
    permanent_url: str | None = None
    """Where permanent redirects led to; None without them."""
    etag: str | None = None
    last_modified: str | None = None
    max_age: float | None = None
    """Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotModified:
    max_age: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """No usable answer."""

    reason: str
    """For people; without addresses and secrets."""
    status: int = 0
    """The HTTP status; 0 without an answer."""
    retry_after: float | None = None
    """Seconds."""
    gone: bool = False
    """The server says that the address is gone for good (status 410)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The answer to `Fetcher.post`, whose body is not read."""

    status: int
    retry_after: float | None = None


class Fetcher:
    """`transport`, a function from request to response, replaces the network in tests."""

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
        conditional = bool(etag or last_modified)
        return self._attempt(
            request.timeout,
            lambda transport: _follow(transport, self._allowed, request.url, headers, conditional=conditional),
        )

    def ask(
        self, url: str, body: bytes, headers: Mapping[str, str], timeout: float, limit: int = MAX_BODY
    ) -> Fetched | Failed:
        """One POST with the body of its answer. A redirect is a failure."""

        def act(transport: httpx2.BaseTransport) -> Fetched | NotModified | Failed:
            check_url(url, self._allowed)
            request = httpx2.Request("POST", url, headers={**self._headers, **headers}, content=body)
            response = transport.handle_request(request)
            try:
                return _answer(response, url, None, conditional=False, limit=limit)
            finally:
                response.close()

        answer = self._attempt(timeout, act)
        assert not isinstance(answer, NotModified), "the request has no validators"
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
        """One POST without the body of its answer. A redirect is an answer. Raises NotAllowed."""
        check_url(url, self._allowed)
        all_headers = {**self._headers, "Accept-Encoding": "identity", **headers}
        try:
            with self._transport(timeout) as transport:
                response = transport.handle_request(httpx2.Request("POST", url, headers=all_headers, content=body))
                wait = retry_after(response.headers.get("retry-after", ""), datetime.now(UTC))
                response.close()  # The body is not read, since its size and speed are up to the receiver.
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
    """Raises NotAllowed for an address that may never be requested. `GuardedTransport` checks what names resolve to."""
    check_url(url, AllowList.parse(allow_hosts))


def _follow(
    transport: httpx2.BaseTransport, allowed: AllowList, url: str, headers: Mapping[str, str], *, conditional: bool
) -> Fetched | NotModified | Failed:
    """One GET that follows redirects; the address of each is checked. `conditional`: the request has validators."""
    permanent: str | None = None
    all_permanent = True
    cookies = CookieJar()
    for _ in range(MAX_REDIRECTS + 1):
        check_url(url, allowed)
        response = transport.handle_request(httpx2.Request("GET", url, headers=_with_cookies(headers, cookies, url)))
        try:
            cookies.store(url, response.headers.get_list("set-cookie"), datetime.now(UTC))
            target = response.headers.get("location")
            if response.status_code not in _REDIRECTS or not target:
                return _answer(response, url, permanent, conditional=conditional)
            redirect = httpx2.URL(url).join(target).copy_with(fragment=None)
        finally:
            response.close()
        if _origin(redirect) != _origin(httpx2.URL(url)):
            headers = {name: value for name, value in headers.items() if name.lower() not in _CREDENTIALS}
        url = str(redirect)
        all_permanent = all_permanent and response.status_code in _PERMANENT
        permanent = url if all_permanent else permanent
    return Failed(reason=f"more than {MAX_REDIRECTS} redirects")


def _with_cookies(headers: Mapping[str, str], cookies: CookieJar, url: str) -> Mapping[str, str]:
    """The headers with those cookies that the servers on the way have set for this address."""
    own = next((name for name in headers if name.lower() == "cookie"), "Cookie")
    both = [value for value in (headers.get(own, ""), cookies.header(url)) if value]
    return {**headers, own: "; ".join(both)} if both else headers


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _answer(
    response: httpx2.Response, url: str, permanent: str | None, *, conditional: bool, limit: int = MAX_BODY
) -> Fetched | NotModified | Failed:
    headers, status = response.headers, response.status_code
    if status == 304 and conditional:
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
