"""The process that keeps one embedded server running while anyone uses it.

Started as `python -m services.local.server_process NAME DIR`.

Commands and `up` share a server by holding a lock that the kernel releases when they end, however they end. When
nobody holds it any more, the keeper stops the server: so the last one out need not be the one who started it.
"""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from services.local.datadir import DataDir
from services.local.file_locks import Locks
from services.local.postgres import Postgres
from services.local.process import Backoff, end
from services.local.server import Server
from services.local.valkey import Valkey

SERVERS: dict[str, type[Server]] = {"postgres": Postgres, "valkey": Valkey}
POLL_INTERVAL_SECONDS = 0.1
TAKEOVER = 5.0
QUICK = 5.0
QUICK_DEATHS = 3


class ServerProcess:
    def __init__(self, server: Server, locks: Locks) -> None:
        self._server = server
        self._locks = locks
        self._told_to_stop = False
        self._backoff = Backoff()

    def stop(self, *_: object) -> None:
        self._told_to_stop = True

    def run(self) -> int:
        """Starts the server, and again whenever it dies; 0 when it is no longer needed, 1 when it does not start."""
        while not self._over():
            self._server.clear()
            born = time.monotonic()
            process = self._server.spawn()
            while process.poll() is None:
                if self._over():
                    end([psutil.Process(process.pid)], self._server.steps)
                    process.wait()
                    return 0
                time.sleep(POLL_INTERVAL_SECONDS)
            if not self._rest(process, time.monotonic() - born):
                return 1
        return 0

    def _over(self) -> bool:
        return self._told_to_stop or self._locks.keeper.deleted() or self._locks.nobody_left()

    def _rest(self, process: "subprocess.Popen[bytes]", lived: float) -> bool:
        """Waits before the next start; False when there should be none."""
        pause = self._backoff.after(lived)
        hopeless = lived < QUICK and self._backoff.deaths >= QUICK_DEATHS
        then = "giving up" if hopeless else f"starting it again in {pause:g} s"
        print(
            f"paperwire: {self._server.title} ended (status {process.returncode}); {then}", file=sys.stderr, flush=True
        )
        until = time.monotonic() + pause
        while not hopeless and time.monotonic() < until and not self._told_to_stop:
            time.sleep(POLL_INTERVAL_SECONDS)
        return not hopeless


def main() -> int:
    name, folder = sys.argv[1:]
    home = DataDir(Path(folder))
    locks = Locks(home, name)
    keeper = ServerProcess(SERVERS[name](home), locks)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, keeper.stop)
    if not locks.keeper.take(wait=TAKEOVER):
        return 0
    locks.keeper.note(str(psutil.Process().pid))
    return keeper.run()


if __name__ == "__main__":
    sys.exit(main())
