"""Hostile feeds and addresses, from the form or the fetch to the archive, with the real client and the real parser.

tests/test_http.py has the cases of the client alone, and tests/test_sandbox.py those of the parser alone.
"""

import gzip
import socket
import time

import pytest
from sqlalchemy import select

from services import plugins
from services.errors import SourceError, TargetError
from services.flow.commands.add_source import add_source
from services.http.client import Fetcher
from services.ports import Rejected, Request
from services.store.db.tables import paper, source
from tests.flow.conftest import configure, world
from tests.flow.pipeline.test_poll import make_due, poll_all
from tests.notifiers.conftest import Commit
from tests.notifiers.test_webhook import send
from tests.support.world import Pipeline
from tests.test_http import Server, reply, server

__all__ = ["configure", "server", "world"]

MARK = "root:x:0"


def rss(items: str, prolog: str = "") -> bytes:
    return f"<?xml version='1.0'?>{prolog}<rss version='2.0'><channel><title>F</title>{items}</channel></rss>".encode()


def item(title: str) -> str:
    return f"<item><title>{title}</title><link>https://lab.example.org/a</link><description>About</description></item>"


LAUGHS = "<!DOCTYPE l [<!ENTITY a0 'ha'>{}]>".format(
    "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12))
)
QUADRATIC = f"<!DOCTYPE l [<!ENTITY a '{'ha' * 50_000}'>]>"
FILE = "<!DOCTYPE l [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
REMOTE = "<!DOCTYPE l [<!ENTITY % x SYSTEM 'http://127.0.0.1:{port}/dtd'> %x;]>"
GOOD = rss(item("Good"))


def hostile(port: int) -> dict[str, tuple[bytes, dict[str, str]]]:
    """Bodies with their headers. None of them may become a paper with content from elsewhere."""
    bomb = gzip.compress(bytes(64 << 20))
    return {
        "billion laughs": (rss(item("&a11;"), LAUGHS), {}),
        "quadratic growth": (rss(item("&a;" * 5_000), QUADRATIC), {}),
        "external entity": (rss(item("&x;"), FILE), {}),
        "external DTD": (rss(item("T"), REMOTE.format(port=port)), {}),
        "xinclude": (rss("<x:include xmlns:x='http://www.w3.org/2001/XInclude' href='file:///etc/passwd'/>"), {}),
        "utf-16 entities": (rss(item("&x;"), FILE).decode().encode("utf-16"), {}),
        "nested": (rss("<a>" * 20_000), {}),
        "nested json": (b"[" * 200_000, {"Content_Type": "application/feed+json"}),
        "gzip bomb": (bomb, {"Content_Encoding": "gzip"}),
        "gzip in gzip": (gzip.compress(bomb), {"Content_Encoding": "gzip, gzip"}),
        "brotli that is none": (b"\xff" * 10_000, {"Content_Encoding": "br"}),
        "many codings": (GOOD, {"Content_Encoding": ", ".join(["gzip"] * 1_000)}),
    }


WITHOUT_ENTRIES = ("xinclude", "nested")
"""What these contain is ignored, and a feed may be empty."""


@pytest.fixture
def fetcher(server: Server) -> Fetcher:
    return Fetcher(user_agent="paperwire-test", allow_hosts=[f"127.0.0.1:{server.port}"])


def add(world: Pipeline, location: str) -> int:
    with world.db.transaction() as tx:
        return add_source(tx, plugins.source("feed"), location, None, announce_first=True)


def titles(world: Pipeline) -> list[str]:
    return [row["title"] for row in world.rows(select(paper))]


def error_of(world: Pipeline, source_id: int) -> str:
    return str(world.rows(select(source).where(source.c.id == source_id))[0]["error"])


def test_after_each_hostile_feed_the_next_feed_is_read(world: Pipeline, server: Server, fetcher: Fetcher) -> None:
    source_id = add(world, f"{server.url}/feed")
    for name, (body, headers) in hostile(server.port).items():
        server.answers["/feed"] = reply(body, **headers)
        began = time.monotonic()
        make_due(world)
        assert poll_all(world, fetcher) == 1, name
        assert time.monotonic() - began < 15, name
        error = error_of(world, source_id)
        assert len(error) < 500, name
        assert error or name in WITHOUT_ENTRIES, name
    assert [asked.split()[1] for asked in server.asked if asked.split()[1] != "/feed"] == []
    assert all(MARK not in title and "haha" not in title for title in titles(world))
    server.answers["/feed"] = reply(GOOD)
    make_due(world)
    poll_all(world, fetcher)
    assert "Good" in titles(world)
    assert error_of(world, source_id) == ""


PRIVATE = (
    "http://169.254.169.254/latest/meta-data/",
    "http://127.0.0.1/",
    "http://[::1]/",
    "http://[::]/",
    "http://0.0.0.0/",
    "http://0/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.1/",
    "http://127.0.0.1./",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[fd00:ec2::254]/",
    "http://[fe80::1%25lo]/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.0.1/",
    "http://100.64.0.1/",
    "http://a@127.0.0.1/",
    "http://example.org@127.0.0.1/",
    "http://127.0.0.1#@example.org/",
    "http://127.0.0.1\\@example.org/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:70/_x",
    "dict://127.0.0.1:11211/",
    "ftp://127.0.0.1/",
    "jar:http://127.0.0.1!/",
    "data:text/xml,<rss/>",
)


@pytest.fixture
def no_connection(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The addresses to which a connection was tried. None is made."""
    tried: list[object] = []

    def refuse(address: object, *rest: object, **named: object) -> None:
        tried.append(address)
        raise OSError("no connection in this test")

    monkeypatch.setattr(socket, "create_connection", refuse)
    return tried


def test_a_public_address_is_tried(no_connection: list[object]) -> None:
    """Without this test, a client that connects in another way would pass the tests below."""
    Fetcher(user_agent="paperwire-test").fetch(Request(url="http://93.184.216.34/"))
    assert no_connection == [("93.184.216.34", 80)]


def test_no_source_makes_a_connection_to_a_private_address(world: Pipeline, no_connection: list[object]) -> None:
    fetcher, plugin = Fetcher(user_agent="paperwire-test"), plugins.source("feed")
    for address in PRIVATE:
        try:
            location = plugin.location(address)
        except SourceError:
            continue
        source_id = add(world, location)
        make_due(world)
        poll_all(world, fetcher)
        assert error_of(world, source_id), address
        with world.db.transaction() as tx:
            tx.exec_driver_sql("DELETE FROM source WHERE polled")
    assert no_connection == []


def test_no_webhook_makes_a_connection_to_a_private_address(world: Pipeline, no_connection: list[object]) -> None:
    notifier = plugins.notifier("webhook")
    for address in PRIVATE:
        for spelled in (address, address.replace("http://", "https://")):
            try:
                target = notifier.parse_target(spelled)
            except TargetError:
                continue
            result = send(target, Commit())
            assert isinstance(result, Rejected), spelled
    assert no_connection == []


def test_no_redirect_of_a_feed_makes_a_connection_to_a_private_address(world: Pipeline, server: Server) -> None:
    fetcher = Fetcher(user_agent="paperwire-test", allow_hosts=[f"127.0.0.1:{server.port}"])
    source_id = add(world, f"{server.url}/feed")
    with pytest.MonkeyPatch.context() as patch:
        real, tried = socket.create_connection, list[object]()

        def only_the_server(address: tuple[str, int], *rest: object, **named: object) -> socket.socket:
            if address[1] != server.port:
                tried.append(address)
                raise OSError("no connection in this test")
            return real(address, *rest, **named)  # type: ignore[arg-type]

        patch.setattr(socket, "create_connection", only_the_server)
        for address in PRIVATE:
            if not address.isascii():
                continue
            server.answers["/feed"] = reply(status="301 Moved", Location=address)
            make_due(world)
            poll_all(world, fetcher)
            assert error_of(world, source_id), address
    assert tried == []
    assert error_of(world, source_id).count(str(server.port)) == 0


def test_a_name_that_resolves_to_a_private_address_is_refused(
    world: Pipeline, no_connection: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = {"private.example": ["10.0.0.1"], "both.example": ["93.184.216.34", "::ffff:127.0.0.1"]}

    def resolve(host: str, *rest: object, **named: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in resolved[host]]

    fetcher = Fetcher(user_agent="paperwire-test")
    ids = [add(world, f"http://{name}/feed") for name in resolved]
    with monkeypatch.context() as patch:
        patch.setattr("services.http.transport.socket.getaddrinfo", resolve)
        make_due(world)
        for _ in ids:
            poll_all(world, fetcher)
            make_due(world)
    assert [error_of(world, source_id).count("public internet") for source_id in ids] == [1, 1]
    assert no_connection == []
