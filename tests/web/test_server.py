"""Slow and many connections on a real server, and the address of a client behind proxies."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_network
from typing import Any

import pytest
import uvicorn

from services.web import server
from services.web.server import BoundedProtocol

WAIT_SECONDS = 20.0


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers with the client's address after it has read the body."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": f"{scope['scheme']} {scope['client'][0]}".encode()})


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(server, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(server, "MAX_CONNECTIONS_OF_ADDRESS", 5)
    monkeypatch.setattr(BoundedProtocol, "trusted_proxies", ())


@pytest.fixture
def port(limits: None) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application, http=BoundedProtocol, ws="none", lifespan="off", log_config=None,
        forwarded_allow_ips=["127.0.0.1", "10.0.0.0/8"],
    )  # fmt: skip
    running = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(running.serve([listener])), daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    running.should_exit = True
    thread.join(WAIT_SECONDS)
    listener.close()


def connect(port: int, sent: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS)
    client.sendall(sent)
    return client


def everything(client: socket.socket) -> bytes:
    """What the server sends until it closes the connection."""
    parts = []
    try:
        while part := client.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def page(port: int, headers: bytes = b"") -> bytes:
    with closing(connect(port, b"GET / HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")) as client:
        return everything(client)


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab"],
)
def test_a_request_that_is_never_complete_is_closed_and_others_are_answered(port: int, sent: bytes) -> None:
    with closing(connect(port, sent)) as slow:
        assert page(port).startswith(b"HTTP/1.1 200 OK")
        assert not everything(slow).startswith(b"HTTP/1.1 200")


def test_a_trickling_head_does_not_extend_its_time(port: int) -> None:
    with closing(connect(port, b"GET / HTTP/1.1\r\n")) as slow:
        deadline = time.monotonic() + WAIT_SECONDS
        while is_open(slow):
            assert time.monotonic() < deadline


def is_open(client: socket.socket) -> bool:
    """Sends another header, a little later."""
    time.sleep(0.02)
    try:
        client.sendall(b"X-A: b\r\n")
    except OSError:
        return False
    return True


def test_one_address_holds_a_few_connections_only(port: int) -> None:
    held = [connect(port, b"GET") for _ in range(5)]
    assert page(port) == b""
    for client in held:
        client.close()
    deadline = time.monotonic() + WAIT_SECONDS
    while not page(port).startswith(b"HTTP/1.1 200"):
        assert time.monotonic() < deadline
    assert sum(BoundedProtocol.open_of_address.values()) <= 1


def test_a_trusted_proxy_is_not_limited_by_its_address(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "trusted_proxies", (ip_network("127.0.0.0/8"),))
    held = [connect(port, b"GET") for _ in range(5)]
    assert page(port).startswith(b"HTTP/1.1 200")
    for client in held:
        client.close()


def test_the_client_is_the_last_address_that_is_no_trusted_proxy(port: int) -> None:
    forged = b"X-Forwarded-For: 192.0.2.1, 198.51.100.7, 10.1.2.3\r\nX-Forwarded-Proto: https\r\n"
    assert b"https 198.51.100.7\r\n" in page(port, forged)
    assert b"http 127.0.0.1\r\n" in page(port)
