"""A way to the broker that can swallow everything: open connections and new ones, without a word."""

import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType


class Gateway:
    """A port that leads to a unix socket while it is not a `hole`."""

    def __init__(self, to: Path) -> None:
        self.hole = False
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def __enter__(self) -> "Gateway":
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                outside = self._listener.accept()[0]
                inside = socket.socket(socket.AF_UNIX)
                inside.connect(str(self._to))
                self._open += [outside, inside]
                for pair in ((outside, inside), (inside, outside)):
                    thread = threading.Thread(target=self._pump, args=pair)
                    self._threads.append(thread)
                    thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self.hole:
                    sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
