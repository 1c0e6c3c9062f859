import gzip
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import brotli
import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.domain.http.ssrf import AllowList, NotAllowed
from services.http.client import Failed, Fetched, Fetcher, GuardedTransport, NotModified, check_address
from services.ports import Request

Answer = Callable[[socket.socket], None]
SECRET = "hunter2"


class Server(ThreadingTCPServer):
    """Answers each path with a function of the bare socket and keeps what it was asked."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.port = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"


class Handler(BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        self.request.settimeout(10)
        asked = b""
        while b"\r\n\r\n" not in asked and (part := self.request.recv(65536)):
            asked += part
        self.server.asked.append(asked.decode())
        try:
            self.server.answers[asked.decode().split()[1]](self.request)
        except OSError:
            # The other side has hung up, as most of these tests want it to.
            return


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def reply(body: bytes = b"", status: str = "200 OK", **headers: str) -> Answer:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if "Content_Length" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""])
    return lambda connection: connection.sendall(head.encode() + body)


def drip(head: bytes, part: bytes) -> Answer:
    """Sends `head`, then `part` for as long as the other side listens."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(part)
            time.sleep(0.05)

    return answer


def fetcher(server: Server) -> Fetcher:
    return Fetcher(user_agent="paperwire-test", allow_hosts=[f"127.0.0.1:{server.port}"])


def fetch(
    server: Server, path: str = "/", timeout: float = 10.0, **named: str | None
) -> Fetched | NotModified | Failed:
    return fetcher(server).fetch(Request(url=server.url + path, timeout=timeout), **named)


def failure(outcome: object) -> Failed:
    assert isinstance(outcome, Failed)
    assert "127.0.0.1" not in outcome.reason
    assert SECRET not in outcome.reason
    return outcome


def test_an_answer_has_the_validators_for_the_next_request(server: Server) -> None:
    headers = {"ETag": 'W/"1"', "Last_Modified": "Sat, 30 May 2026 12:00:00 GMT", "Cache_Control": "max-age=60"}
    server.answers["/"] = reply(b"<rss/>", Content_Type="text/xml", **headers)
    assert fetch(server) == Fetched(
        body=b"<rss/>",
        content_type="text/xml",
        url=f"{server.url}/",
        etag='W/"1"',
        last_modified="Sat, 30 May 2026 12:00:00 GMT",
        max_age=60.0,
    )
    assert "User-Agent: paperwire-test\r\n" in server.asked[0]
    assert f"Host: 127.0.0.1:{server.port}\r\n" in server.asked[0]


def test_validators_are_sent(server: Server) -> None:
    server.answers["/"] = reply(status="304 Not Modified")
    outcome = fetch(server, etag='"1"', last_modified="Sat, 30 May 2026 12:00:00 GMT")
    assert outcome == NotModified()
    assert 'If-None-Match: "1"\r\n' in server.asked[0]
    assert "If-Modified-Since: Sat, 30 May 2026 12:00:00 GMT\r\n" in server.asked[0]


def test_a_304_with_a_body_is_a_304(server: Server) -> None:
    server.answers["/"] = reply(b"surprise" * 1000, status="304 Not Modified")
    assert fetch(server, etag='"1"') == NotModified()


def test_a_304_without_validators_is_a_failure(server: Server) -> None:
    server.answers["/"] = reply(status="304 Not Modified")
    assert failure(fetch(server)).reason == "the server answered 304"


@pytest.mark.parametrize(
    ("coding", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("br", brotli.compress)]
)
def test_encoded_pages_are_decoded(server: Server, coding: str, encode: Callable[[bytes], bytes]) -> None:
    server.answers["/"] = reply(encode(b"text " * 1000), Content_Encoding=coding)
    outcome = fetch(server)
    assert isinstance(outcome, Fetched)
    assert outcome.body == b"text " * 1000


@pytest.mark.parametrize(("coding", "encode"), [("gzip", gzip.compress), ("br", brotli.compress)])
def test_decoding_stops_at_the_size_limit(server: Server, coding: str, encode: Callable[[bytes], bytes]) -> None:
    server.answers["/"] = reply(encode(bytes(100 << 20)), Content_Encoding=coding)
    assert failure(fetch(server, timeout=30)).reason == "the answer is larger than 10 MiB"


def test_an_endless_body_is_a_failure(server: Server) -> None:
    part = b"%x\r\n%s\r\n" % (1 << 20, b"x" * (1 << 20))
    server.answers["/"] = drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", part)
    assert failure(fetch(server)).reason == "the answer is larger than 10 MiB"


def test_a_body_with_a_too_large_content_length_is_not_read(server: Server) -> None:
    server.answers["/"] = reply(b"", Content_Length=str(1 << 40))
    assert failure(fetch(server, timeout=5)).reason == "the answer is larger than 10 MiB"


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"z"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["silence", "headers", "body", "chunks"],
)
def test_a_slow_answer_ends_at_the_timeout(server: Server, head: bytes, part: bytes) -> None:
    server.answers["/"] = drip(head, part)
    started = time.monotonic()
    assert failure(fetch(server, timeout=0.6)).reason == "no complete answer within 0.6 s"
    assert time.monotonic() - started < 3


def test_cookies_set_on_the_way_are_sent_back_within_one_fetch() -> None:
    asked: list[tuple[str, str]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        place = f"{request.url.host}{request.url.path}"
        asked.append((place, request.headers.get("cookie", "")))
        if place == "idp.nature.example/authorize":
            return httpx2.Response(302, headers={"Location": "/transit"})
        if place == "idp.nature.example/transit":
            cookies = [("Set-Cookie", "idp_session=abc; Domain=.nature.example; Path=/"), ("Set-Cookie", "own=1")]
            return httpx2.Response(302, headers=[("Location", "https://www.nature.example/nature.rss"), *cookies])
        if "idp_session=abc" in request.headers.get("cookie", ""):
            return httpx2.Response(200, content=b"<rss/>")
        return httpx2.Response(303, headers={"Location": "https://idp.nature.example/authorize"})

    fetcher = Fetcher(user_agent="paperwire-test", transport=answer)
    for _ in range(2):
        outcome = fetcher.fetch(Request(url="https://www.nature.example/nature.rss"))
        assert isinstance(outcome, Fetched)
        assert outcome.permanent_url is None
    once = [("www.nature.example/nature.rss", ""), ("idp.nature.example/authorize", "")]
    once += [("idp.nature.example/transit", ""), ("www.nature.example/nature.rss", "idp_session=abc")]
    assert asked == once * 2


def test_the_timeout_covers_all_redirects_together(server: Server) -> None:
    def slowly(connection: socket.socket) -> None:
        time.sleep(0.4)
        reply(status="302 Found", Location="/")(connection)

    server.answers["/"] = slowly
    assert "within 1 s" in failure(fetch(server, timeout=1)).reason


@pytest.mark.parametrize(
    "body", [b"", b"HTTP/1.1", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"]
)
def test_a_broken_answer_is_a_failure(server: Server, body: bytes) -> None:
    server.answers["/"] = lambda connection: connection.sendall(body)
    assert "not HTTP" in failure(fetch(server)).reason


def test_a_refused_connection_is_a_failure(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    outcome = Fetcher(user_agent="t", allow_hosts=["127.0.0.0/8"]).fetch(Request(url=f"http://127.0.0.1:{port}/"))
    assert "no connection" in failure(outcome).reason


def later(seconds: int) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [("7", 7, 7), (3600, 3500, 3600), ("garbage", None, None), ("-3", None, None), (-60, None, None)],
)
def test_retry_after_is_returned(server: Server, header: str | int, least: float | None, most: float | None) -> None:
    stated = later(header) if isinstance(header, int) else header
    server.answers["/"] = reply(b"Rate exceeded.", "429 Too Many Requests", Retry_After=stated)
    outcome = failure(fetch(server))
    assert outcome.reason == "the server answered 429"
    if least is None or most is None:
        assert outcome.retry_after is None
    else:
        assert outcome.retry_after is not None
        assert least <= outcome.retry_after <= most


@pytest.mark.parametrize(("status", "gone"), [("410 Gone", True), ("404 Not Found", False), ("500 Oops", False)])
def test_only_410_is_gone_for_good(server: Server, status: str, gone: bool) -> None:
    server.answers["/"] = reply(status=status)
    assert failure(fetch(server)).gone is gone


@pytest.mark.parametrize(
    ("first", "second", "permanent"),
    [("301 Moved", "308 Moved", "/end"), ("301 Moved", "302 Found", "/middle"), ("302 Found", "301 Moved", None)],
)
def test_only_permanent_redirects_from_the_first_on_move_a_source(
    server: Server, first: str, second: str, permanent: str | None
) -> None:
    server.answers["/"] = reply(status=first, Location="/middle")
    server.answers["/middle"] = reply(status=second, Location="/end#part")
    server.answers["/end"] = reply(b"here")
    outcome = fetch(server)
    assert isinstance(outcome, Fetched)
    assert (outcome.body, outcome.url) == (b"here", f"{server.url}/end")
    assert outcome.permanent_url == (f"{server.url}{permanent}" if permanent else None)


def test_a_redirect_loop_ends(server: Server) -> None:
    server.answers["/"] = reply(status="302 Found", Location="/")
    assert failure(fetch(server)).reason == "more than 5 redirects"
    assert len(server.asked) == 6


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://localhost:{other}/",
        "http://127.0.0.1:{other}/",
        "http://127.1:{port}0/",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "//user:hunter2@127.0.0.1:{port}/",
    ],
)
def test_redirects_to_private_addresses_are_refused(server: Server, target: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as inside:
        inside.settimeout(0.05)
        other = inside.getsockname()[1]
        server.answers["/"] = reply(status="302 Found", Location=target.format(port=server.port, other=other))
        assert any(word in failure(fetch(server)).reason for word in ("address", "ports"))
        with pytest.raises(TimeoutError):
            inside.accept()


def test_this_machine_is_refused_unless_allowed(server: Server) -> None:
    closed = Fetcher(user_agent="t")
    for host in ("127.0.0.1", "localhost", "[::1]"):
        outcome = closed.fetch(Request(url=f"http://{host}:{server.port}/"))
        assert isinstance(outcome, Failed)
    assert server.asked == []


def test_a_name_is_checked_by_what_it_resolves_to(server: Server) -> None:
    # A name on port 80 passes every check of the address itself.
    check_address("http://localhost/")
    outcome = Fetcher(user_agent="t").fetch(Request(url="http://localhost/"))
    assert "not on the public internet" in failure(outcome).reason


def test_the_connection_goes_to_the_checked_address(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    real, answers = socket.getaddrinfo, iter(["127.0.0.1", "127.9.9.9"])

    def rebinding(host: object, *rest: object, **named: object) -> list[object]:
        return real(next(answers) if host == "rebind.example" else host, *rest, **named)  # type: ignore[arg-type,return-value]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    server.answers["/"] = reply(b"here")
    outcome = Fetcher(user_agent="t", allow_hosts=["127.0.0.1"]).fetch(
        Request(url=f"http://rebind.example:{server.port}/")
    )
    assert isinstance(outcome, Fetched)
    assert f"Host: rebind.example:{server.port}" in server.asked[0]
    assert next(answers) == "127.9.9.9"


def test_credentials_are_not_sent_to_another_origin(server: Server) -> None:
    with Server() as other:
        thread = Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.answers["/"] = reply(status="302 Found", Location="/same")
        server.answers["/same"] = reply(status="302 Found", Location=f"{other.url}/")
        other.answers["/"] = reply(b"ok")
        request = Request(url=f"{server.url}/", headers={"Authorization": SECRET, "Cookie": SECRET, "X-Other": "1"})
        outcome = Fetcher(user_agent="t", allow_hosts=["127.0.0.1"]).fetch(request)
        other.shutdown()
        thread.join()
    assert isinstance(outcome, Fetched)
    assert all(SECRET in asked for asked in server.asked)
    assert len(server.asked) == 2
    assert SECRET not in other.asked[0]
    assert "X-Other: 1" in other.asked[0]


def test_proxies_of_the_environment_are_ignored(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server.answers["/"] = reply(b"direct")
    assert isinstance(fetch(server), Fetched)


def test_a_function_replaces_the_network() -> None:
    def respond(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=b"hello", headers={"ETag": '"1"'})

    outcome = Fetcher(user_agent="t", transport=respond).fetch(Request(url="https://feeds.example/x"))
    assert isinstance(outcome, Fetched)
    assert (outcome.body, outcome.etag) == (b"hello", '"1"')


@pytest.mark.parametrize("url", ["https://me:hunter2@example.org/", "http://192.168.0.1/", "http://example.org:25/"])
def test_an_address_can_be_checked_before_it_is_stored(url: str) -> None:
    with pytest.raises(NotAllowed) as caught:
        check_address(url)
    assert SECRET not in str(caught.value)
    check_address("https://example.org/")
    check_address("http://192.168.0.1/", ["192.168.0.0/16"])


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{name}.crt", folder / f"{name}.key"
    files[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@pytest.mark.parametrize(("name", "passes"), [("localhost", True), ("elsewhere.example", False)])
def test_tls_checks_the_name_not_the_address(tmp_path: Path, name: str, passes: bool) -> None:
    crt, key = certificate(tmp_path, name)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(crt, key)
    named: list[str | None] = []
    tls.sni_callback = lambda connection, server_name, context: named.append(server_name)
    asked: list[bytes] = []

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            try:
                with tls.wrap_socket(connection, server_side=True) as spoken:
                    asked.append(spoken.recv(65536))
                    spoken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        thread = Thread(target=serve, args=(listening,))
        thread.start()
        port = listening.getsockname()[1]
        ours = ssl.create_default_context(cafile=crt)
        transport = GuardedTransport(AllowList.parse(["127.0.0.0/8", "::1"]), 10, ours)
        with httpx2.Client(transport=transport, trust_env=False) as client:
            if passes:
                assert client.get(f"https://localhost:{port}/").content == b"ok"
            else:
                with pytest.raises(httpx2.ConnectError):
                    client.get(f"https://localhost:{port}/")
        thread.join()
    assert named == ["localhost"]
    assert all(f"Host: localhost:{port}".encode() in request for request in asked)


def test_every_address_of_a_name_is_checked() -> None:
    # What `localhost` means here must include a loopback address, or the tests above show nothing.
    assert any(ip_address(entry[4][0]).is_loopback for entry in socket.getaddrinfo("localhost", 80))
