"""A proxy before the broker that can drop all traffic while its connections stay open."""

import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType


class Gateway:
    """A TCP port that forwards to a unix socket, unless `drops_traffic` is set."""

    def __init__(self, to: Path) -> None:
        self.drops_traffic = False
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
        for connection in (self._listener, *self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
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
                    thread = threading.Thread(target=self._forward, args=pair)
                    self._threads.append(thread)
                    thread.start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self.drops_traffic:
                    sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
