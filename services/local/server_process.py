"""The server process: runs one embedded server and restarts it, as long as another process uses it.

Started as `python -m services.local.server_process NAME DIR`.

Every command that uses the server holds a shared lock, which the kernel releases when the command ends, even by
SIGKILL. When no command holds the lock, the server process stops the server. Therefore the command that started the
server may end before the others.
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
TAKEOVER_SECONDS = 5.0
"""The time to wait for a previous server process to end."""
EARLY_EXIT_SECONDS = 5.0
MAX_EARLY_EXITS = 3
"""After this many exits within EARLY_EXIT_SECONDS of a start, the server process gives up."""


class ServerProcess:
    def __init__(self, server: Server, locks: Locks) -> None:
        self._server = server
        self._locks = locks
        self._stop_requested = False
        self._backoff = Backoff()

    def stop(self, *_: object) -> None:
        self._stop_requested = True

    def run(self) -> int:
        """Runs the server and restarts it after each exit. Returns 0 once it is unused, 1 if it does not start."""
        while not self._should_stop():
            self._server.clear()
            started_at = time.monotonic()
            process = self._server.spawn()
            while process.poll() is None:
                if self._should_stop():
                    end([psutil.Process(process.pid)], self._server.steps)
                    process.wait()
                    return 0
                time.sleep(POLL_INTERVAL_SECONDS)
            if not self._wait_before_restart(process, time.monotonic() - started_at):
                return 1
        return 0

    def _should_stop(self) -> bool:
        return self._stop_requested or self._locks.process_lock.deleted() or self._locks.take_if_unused()

    def _wait_before_restart(self, process: "subprocess.Popen[bytes]", run_seconds: float) -> bool:
        """Waits before the next start. Returns False if the server exited early too often."""
        pause = self._backoff.after(run_seconds)
        give_up = run_seconds < EARLY_EXIT_SECONDS and self._backoff.failures >= MAX_EARLY_EXITS
        next_step = "giving up" if give_up else f"restarting in {pause:g} s"
        message = f"{self._server.title} ended (status {process.returncode}); {next_step}"
        print(f"paperwire: {message}", file=sys.stderr, flush=True)
        until = time.monotonic() + pause
        while not give_up and time.monotonic() < until and not self._stop_requested:
            time.sleep(POLL_INTERVAL_SECONDS)
        return not give_up


def main() -> int:
    name, folder = sys.argv[1:]
    home = DataDir(Path(folder))
    locks = Locks(home, name)
    server_process = ServerProcess(SERVERS[name](home), locks)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server_process.stop)
    if not locks.process_lock.take(wait_seconds=TAKEOVER_SECONDS):
        return 0
    locks.process_lock.write_note(str(psutil.Process().pid))
    return server_process.run()


if __name__ == "__main__":
    sys.exit(main())
