"""An IMAP server on loopback with one folder: as much of it as reading returned mails takes."""

import re
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType


class ImapSink:
    """Mails have the UIDs 1, 2 …; `refuse` is the command that it answers NO to, or CLOSE to hang up on SEARCH.

    `starttls` is what it offers STARTTLS with; `odd` are answers, by command, in place of its own.
    """

    def __init__(
        self,
        folder: str,
        mails: Sequence[bytes] = (),
        refuse: str = "",
        tls: ssl.SSLContext | None = None,
        starttls: ssl.SSLContext | None = None,
        odd: Mapping[str, bytes] | None = None,
    ) -> None:
        self._tls, self._starttls, self._odd = tls, starttls, odd or {}
        self.encrypted = False
        self.folder, self.mails, self.refuse = folder, list(mails), refuse
        self.seen: set[int] = set()
        self.signed_in: list[tuple[str, str]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept)
        self._connection: socket.socket | None = None
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> "ImapSink":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in (self._listener, self._connection):
            with suppress(OSError):
                if one:
                    one.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                self._connection, _ = self._listener.accept()
            except OSError:
                return
            with suppress(OSError):
                self._serve()
            self._connection.close()

    def _serve(self) -> None:
        assert self._connection
        if self._tls:
            self._encrypt(self._tls)
        self._connection.sendall(b"* OK sink\r\n")
        while self._talk():
            assert self._starttls
            self._encrypt(self._starttls)

    def _encrypt(self, context: ssl.SSLContext) -> None:
        assert self._connection
        self._connection = context.wrap_socket(self._connection, server_side=True)
        self.encrypted = True

    def _talk(self) -> bool:
        """Answers commands until the client leaves; True when it asks for STARTTLS."""
        assert self._connection
        with self._connection.makefile("rb") as file:
            while text := file.readline(10_000).decode().strip():
                if not self._command(*text.split(" ", 1)):
                    return False
                if text.endswith(" STARTTLS") and self._starttls:
                    return True
        return False

    def _command(self, tag: str, text: str) -> bool:
        verb = re.sub(r"^UID ", "", text).split(" ")[0].upper()
        if verb == "SEARCH" and self.refuse == "CLOSE":
            return False
        lines = self._odd.get(verb, b"") if verb == self.refuse or verb in self._odd else self._answer(verb, text)
        known = "NO" if verb == self.refuse or lines is None else "OK"
        self._send((lines or b"") + f"{tag} {known} {verb}\r\n".encode())
        return verb != "LOGOUT"

    def _answer(self, verb: str, text: str) -> bytes | None:
        words = [re.sub(r"\\(.)", r"\1", one or two) for one, two in re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', text)]
        match verb:
            case "CAPABILITY":
                return b"* CAPABILITY IMAP4rev1" + b" STARTTLS" * bool(self._starttls) + b"\r\n"
            case "LOGIN":
                self.signed_in.append((words[1], words[2]))
            case "SELECT":
                return f"* {len(self.mails)} EXISTS\r\n".encode() if words[1] == self.folder else None
            case "SEARCH":
                unseen = [str(uid) for uid in range(1, len(self.mails) + 1) if uid not in self.seen]
                return f"* SEARCH {' '.join(unseen)}\r\n".encode()
            case "FETCH":
                size = int(re.findall(r"<0\.(\d+)>", text)[0])
                body = self.mails[int(words[2]) - 1][:size]
                head = f"* {words[2]} FETCH (UID {words[2]} BODY[]<0> {{{len(body)}}}\r\n".encode()
                return head + body + b")\r\n"
            case "STORE":
                self.seen.add(int(words[2]))
            case "LOGOUT":
                return b"* BYE\r\n"
        return b""

    def _send(self, answer: bytes) -> None:
        assert self._connection
        self._connection.sendall(answer)
