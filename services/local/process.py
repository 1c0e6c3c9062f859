"""Starting processes that die with us, and ending those that should be gone."""

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

from services.local.os_user import Account

LAUNCHER = Path(__file__).with_name("exec_with_parent_death.py")
Steps = Sequence[tuple[signal.Signals, float]]
"""Signals to send one after the other, each with the seconds that it is given."""

GRACE_OF_ORPHANS = 2.0


def launch(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    output: int | IO[bytes],
    death_signal: signal.Signals,
    account: Account | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a program in a session of its own; on Linux it gets `death_signal` when the calling thread ends."""
    owner = (account.uid, account.gid) if account else (-1, -1)
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
    """Ends processes, politely first."""
    left = list(processes)
    for number, seconds in steps:
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        _, left = psutil.wait_procs(left, timeout=seconds)
        if not left:
            return


def named_in(name: str, folder: Path) -> list[psutil.Process]:
    """The processes of a program that work in `folder`: what tells a server of ours from any other."""
    found = []
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error, OSError):
            if process.info["name"] == name and os.path.samefile(process.cwd(), folder):
                found.append(process)
    return found


def heads(found: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those that none of the others started; what has ended meanwhile is none of them."""
    numbers = {process.pid for process in found}
    leading = []
    for process in found:
        with suppress(psutil.Error):
            if process.ppid() not in numbers:
                leading.append(process)
    return leading


def is_over(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended, without reaping it: until then its number and its group's stay its own."""
    try:
        return bool(psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def kill_group(leader: int) -> None:
    # macOS answers EPERM for a group of zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def die_with_parent() -> None:
    """Ends this process and its group soon after its parent is gone; for roles that `up` has started."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_OF_ORPHANS)
        if os.getpgrp() == os.getpid():
            kill_group(os.getpid())
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="die-with-parent", daemon=True).start()


@dataclass(slots=True)
class Backoff:
    """How long to wait before the next start: 0.5 s doubling to 30 s, anew after a minute of health."""

    first: float = 0.5
    most: float = 30.0
    healthy: float = 60.0
    deaths: int = 0

    def after(self, lived: float) -> float:
        """Counts a death; returns the seconds to wait."""
        self.deaths = 1 if lived >= self.healthy else self.deaths + 1
        return float(min(self.first * 2 ** min(self.deaths - 1, 16), self.most))
