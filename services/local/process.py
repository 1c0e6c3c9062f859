"""Starts processes that die with their parent, and ends processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from services.local.os_user import OsUser

LAUNCHER = Path(__file__).with_name("exec_with_parent_death.py")
Steps = Sequence[tuple[signal.Signals, float]]
"""Signals to send one after the other, each with the seconds to wait for the process to end."""

ORPHAN_GRACE_SECONDS = 2.0
"""The time between SIGTERM and SIGKILL for a role whose `up` has ended."""


def launch(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    output: int | IO[bytes],
    death_signal: signal.Signals,
    user: OsUser | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a program in a new session. On Linux it receives `death_signal` when the calling thread ends."""
    owner = (user.uid, user.gid) if user else (-1, -1)
    numbers = [str(number) for number in (os.getpid(), int(death_signal), *owner)]
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(LAUNCHER), *numbers, *argv],
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def end(processes: Iterable[psutil.Process], steps: Steps) -> None:
    """Sends the signals of `steps` until every process has ended."""
    running = list(processes)
    for number, seconds in steps:
        for process in running:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        _, running = psutil.wait_procs(running, timeout=seconds)
        if not running:
            return


def processes_in(name: str, folder: Path) -> list[psutil.Process]:
    """The processes of a program whose working directory is `folder`, which no other server has."""
    matching = []
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error, OSError):
            if process.info["name"] == name and os.path.samefile(process.cwd(), folder):
                matching.append(process)
    return matching


def without_children(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """The running processes whose parent is not among `processes`."""
    pids = {process.pid for process in processes}
    parents = []
    for process in processes:
        with suppress(psutil.Error):
            if process.ppid() not in pids:
                parents.append(process)
    return parents


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process is a zombie or gone. Does not reap it, so that its pid and process group are not reused."""
    try:
        return bool(psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def kill_group(leader: int) -> None:
    # macOS: killpg(2) fails with EPERM if the group has only zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def die_with_parent() -> None:
    """Ends this process and its group soon after its parent has ended. For roles that `up` started."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_GRACE_SECONDS)
        if os.getpgrp() == os.getpid():
            kill_group(os.getpid())
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="die-with-parent", daemon=True).start()


@dataclass(slots=True)
class Backoff:
    """The seconds to wait before a restart: 0.5, doubled up to 30; reset after a run of one minute."""

    first: float = 0.5
    maximum: float = 30.0
    reset_after: float = 60.0
    failures: int = 0

    def after(self, run_seconds: float) -> float:
        """Counts a failure after a run of `run_seconds`; returns the seconds to wait."""
        self.failures = 1 if run_seconds >= self.reset_after else self.failures + 1
        return float(min(self.first * 2 ** min(self.failures - 1, 16), self.maximum))
