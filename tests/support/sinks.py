"""Local servers that do as they are told and record what they accept: an SMTP server and an HTTP server."""

import socket
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple

CLOSE = "CLOSE"
"""In place of a reply: the connection ends without one."""


class Mail(NamedTuple):
    """What came after DATA, dots undone; `reply` is what the final dot got, CLOSE included."""

    sender: str
    recipient: str
    body: bytes
    reply: str
    at: float


class SmtpSink:
    """An SMTP server on loopback; its steps are the verbs, CONNECT, BODY (only to close) and the final dot."""

    def __init__(self, *features: str, tls: ssl.SSLContext | None = None, implicit: bool = False) -> None:
        self.mails: list[Mail] = []
        """Accepted ones, and those whose final dot was answered by closing."""
        self.commands: list[str] = []
        self.read = 0
        """Bodies read whole, whether answered yet or not."""
        self.delays: dict[str, float] = {}
        """Step to seconds before its reply."""
        self._features = (*features, *(["STARTTLS"] if tls and not implicit else []))
        self._tls, self._implicit = tls, implicit
        self._once: dict[str, list[str]] = defaultdict(list)
        self._always = {
            "CONNECT": "220 sink", "STARTTLS": "220 go on", "AUTH": "235 2.7.0 ok", "MAIL": "250 2.1.0 ok",
            "RCPT": "250 2.1.5 ok", "DATA": "354 go on", ".": "250 2.0.0 queued as Q1", "QUIT": "221 bye",
        }  # fmt: skip
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'smtps' if implicit else 'smtp'}://127.0.0.1:{self.port}"

    def script(self, step: str, *replies: str, to: str = "") -> None:
        """The next replies of a step (from RCPT on perhaps for one recipient alone), each once; then the usual one."""
        self._once[f"{step} {to}".strip()] += replies

    def always(self, step: str, reply: str) -> None:
        self._always[step] = reply

    def features(self, *names: str) -> None:
        """What EHLO offers from now on."""
        self._features = names

    def tries(self, verb: str) -> int:
        return sum(command.upper().startswith(verb) for command in list(self.commands))

    def __enter__(self) -> "SmtpSink":
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        self._open.add(connection)
        try:
            with suppress(OSError, _Closed):
                if self._tls and self._implicit:
                    connection = self._secured(connection)
                _Session(self, connection).run()
        finally:
            self._open.discard(connection)
            connection.close()

    def _secured(self, connection: socket.socket) -> socket.socket:
        assert self._tls
        self._open.discard(connection)
        secured = self._tls.wrap_socket(connection, server_side=True)
        self._open.add(secured)
        return secured

    def _reply(self, step: str, to: str = "") -> str:
        self._stopping.wait(self.delays.get(f"{step} {to}", self.delays.get(step, 0)))
        for once in (self._once[f"{step} {to}"], self._once[step]):
            if once:
                return once.pop(0)
        return self._always.get(step, "250 ok")


class _Closed(Exception):
    pass


class _Session:
    def __init__(self, sink: SmtpSink, connection: socket.socket) -> None:
        self._sink, self._connection = sink, connection
        self._file = connection.makefile("rb")
        self._sender = self._recipient = ""

    def run(self) -> None:
        try:
            self._say("CONNECT")
            while text := self._file.readline(4096).decode("utf-8", "replace").strip():
                self._sink.commands.append(text)
                verb = text[:4].upper() if text[:8].upper() != "STARTTLS" else "STARTTLS"
                if not self._command(verb, text):
                    return
        finally:
            self._file.close()
            with suppress(OSError):
                self._connection.close()

    def _command(self, verb: str, text: str) -> bool:
        if verb in ("EHLO", "HELO"):
            reply = self._sink._reply("EHLO")
            lines = ["sink", *self._sink._features]
            self._send(reply if reply != "250 ok" else "\r\n".join(f"250-{one}" for one in lines) + "\r\n250 HELP")
            return True
        if verb == "MAIL":
            self._sender, self._recipient = _within(text), ""
        elif verb == "RCPT":
            self._recipient = _within(text)
        reply = self._say(verb)
        if verb == "DATA" and reply.startswith("354"):
            self._body()
        elif verb == "STARTTLS" and reply.startswith("220"):
            self._file.close()
            self._connection = self._sink._secured(self._connection)
            self._file = self._connection.makefile("rb")
        return verb != "QUIT"

    def _body(self) -> None:
        if self._sink._reply("BODY", self._recipient) == CLOSE:
            raise _Closed
        lines: list[bytes] = []
        while (line := self._file.readline()) != b".\r\n":
            if not line:
                raise _Closed
            lines.append(line.removeprefix(b"."))
        self._sink.read += 1
        reply = self._sink._reply(".", self._recipient)
        if reply == CLOSE or reply.startswith("2"):
            mail = Mail(self._sender, self._recipient, b"".join(lines), reply, time.monotonic())
            self._sink.mails.append(mail)
        self._send(reply)

    def _say(self, step: str) -> str:
        reply = self._sink._reply(step, self._recipient)
        self._send(reply)
        return reply

    def _send(self, reply: str) -> None:
        if reply == CLOSE:
            raise _Closed
        self._connection.sendall(reply.encode() + b"\r\n")


def _within(text: str) -> str:
    return text.partition("<")[2].partition(">")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the HTTP sink says; `close`: it reads the request and hangs up."""

    status: int = 200
    body: str = "ok"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    close: bool = False


class Asked(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes
    at: float


class _HttpServer(ThreadingHTTPServer):
    request_queue_size = 128  # Of the usual five a sixth caller at once waits a second for his connection.


class HttpSink:
    """An HTTP server on loopback that records every POST and GET it has read whole."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Asked] = []
        self.judge: Callable[[Asked], Answer | None] = lambda asked: None
        """Asked first: its answer, if any, is given."""
        self._next: dict[str, list[Answer]] = defaultdict(list)
        self._usual: dict[str, Answer] = {}
        self._stopping = threading.Event()
        self._server = _HttpServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def script(self, path: str, *answers: Answer) -> None:
        """The next answers for a path, each once; then the usual one again."""
        self._next[path] += answers

    def always(self, path: str, answer: Answer) -> None:
        self._usual[path] = answer

    def to(self, path: str) -> list[Asked]:
        return [asked for asked in self.requests if asked.path == path]

    def __enter__(self) -> "HttpSink":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def _answer(self, asked: Asked) -> Answer:
        self.requests.append(asked)
        answer = self.judge(asked)
        if answer is None:
            answers = self._next[asked.path]
            answer = answers.pop(0) if answers else self._usual.get(asked.path, Answer())
        self._stopping.wait(answer.delay)
        return answer

    def _handler(sink) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = sink._answer(Asked(self.path, dict(self.headers), body, time.monotonic()))
                self.close_connection = True
                if answer.close:
                    return
                with suppress(OSError):
                    self._say(answer)

            do_GET = do_POST

            def _say(self, answer: Answer) -> None:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body.encode())))
                self.end_headers()
                self.wfile.write(answer.body.encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


@contextmanager
def refused_port() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
