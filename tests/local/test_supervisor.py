import io
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.local import Child, Supervisor
from services.local.process import Backoff
from tests.local.processes import alive, finish, first_line, script, until

pytestmark = pytest.mark.processes
SLEEP = "import time; time.sleep(600)"


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


@contextmanager
def supervised(*children: Child) -> Iterator[io.StringIO]:
    log = io.StringIO()
    supervisor = Supervisor(children, log=log)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(supervisor.run()))
    thread.start()
    try:
        yield log
    finally:
        supervisor.stop()
        thread.join(12)
    assert codes == [0]


def pids(log: io.StringIO, mark: str) -> list[int]:
    """The pids that children have printed after `mark`, in order."""
    return [int(line.rsplit(maxsplit=1)[1]) for line in log.getvalue().splitlines() if f"| {mark} " in line]


def printing(mark: str, then: str) -> str:
    return f"import os, sys, time; print({mark!r}, os.getpid(), flush=True)\n{then}"


def test_the_log_has_whole_lines_with_the_name_of_the_process() -> None:
    code = "import os; os.write(1, b'half '); os.write(2, b'a line\\n'); print('second', flush=True)\n" + SLEEP
    with supervised(Child("web", python(code)), Child("worker", python("print('hi')\n" + SLEEP))) as log:
        until(lambda: log.getvalue().count("\n") >= 3, "every line is in the log")
    lines = log.getvalue().splitlines()
    assert [line for line in lines if line.startswith("web ")] == ["web    | half a line", "web    | second"]
    assert "worker | hi" in lines
    assert lines[-1] == "up     | stopping …"


def test_invalid_bytes_and_very_long_lines_do_not_break_the_log() -> None:
    code = (
        "import os, time; os.write(1, b'\\xff\\x1b[2J\\x00 bad\\n'); os.write(1, b'x' * 20000 + b'\\n');"
        "os.write(1, b'good\\n'); time.sleep(600)"
    )
    with supervised(Child("web", python(code))) as log:
        until(lambda: "good" in log.getvalue(), "the good line is there")
    lines = log.getvalue().splitlines()
    assert lines[0] == "web | \ufffd\ufffd[2J\ufffd bad"
    assert all(len(line) < 9000 for line in lines)
    assert sum(line.count("x") for line in lines) == 20000


def test_a_child_with_much_output_blocks_neither_the_others_nor_the_end() -> None:
    flood = "while True: print('flood ' * 20)"
    with supervised(Child("flood", python(flood)), Child("calm", python("print('calm')\n" + SLEEP))) as log:
        until(lambda: "| calm" in log.getvalue(), "the line of the calm child is in the log")
        started = time.monotonic()
    assert time.monotonic() - started < 3


def test_a_child_that_exits_is_restarted() -> None:
    with supervised(Child("web", python(printing("run", "sys.exit(3)")))) as log:
        until(lambda: len(pids(log, "run")) >= 3, "it has run three times")
    assert "up  | web ended with exit code 3; restarting in 0.5 s" in log.getvalue()
    assert "restarting in 1 s" in log.getvalue()


def test_a_program_that_cannot_be_started_is_named_and_retried() -> None:
    with supervised(Child("web", ["/no/such/program"])) as log:
        until(lambda: "restarting" in log.getvalue(), "it was retried")
    assert "cannot start /no/such/program: No such file or directory" in log.getvalue()


def test_children_of_an_exited_child_are_ended() -> None:
    code = printing(
        "run", f"import subprocess; p = subprocess.Popen([sys.executable, '-c', {SLEEP!r}])\n"
        "print('grandchild', p.pid, flush=True); os._exit(1)",
    )  # fmt: skip
    with supervised(Child("web", python(code))) as log:
        first = until(lambda: pids(log, "grandchild"), "there is a grandchild")[0]
        until(lambda: not alive(first), "it has ended")


def test_a_child_whose_heartbeat_stops_is_restarted(tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    code = printing(
        "run", "from pathlib import Path\nfor _ in 'beat': Path(sys.argv[1]).touch(); time.sleep(0.1)\ntime.sleep(600)"
    )  # fmt: skip
    with supervised(Child("worker", python(code, beat), heartbeat=beat, max_silence=1.0)) as log:
        first, second = until(lambda: pids(log, "run")[:2] if len(pids(log, "run")) > 1 else None, "it runs again")
    assert first != second
    assert "worker no heartbeat for 1 s: killing it" in log.getvalue()
    assert "was ended by SIGKILL" in log.getvalue()


def test_a_child_with_a_heartbeat_is_not_restarted(tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    code = "from pathlib import Path\nfor _ in range(20): Path(sys.argv[1]).touch(); time.sleep(0.1)\n"
    argv = python(printing("run", code + "print('done', flush=True)\n" + SLEEP), beat)
    with supervised(Child("worker", argv, heartbeat=beat, max_silence=1.0)) as log:
        until(lambda: "| done" in log.getvalue(), "it has run for longer than max_silence")
        assert len(pids(log, "run")) == 1


def test_children_know_that_they_are_supervised_and_get_their_environment() -> None:
    code = "import os; print(os.environ['PAPERWIRE_SUPERVISED'], os.environ['X'], flush=True)\n" + SLEEP
    with supervised(Child("web", python(code), {"X": "y"})) as log:
        until(lambda: "web | 1 y" in log.getvalue(), "its line is in the log")


def test_on_started_runs_after_the_children_are_started() -> None:
    started = threading.Event()
    supervisor = Supervisor([Child("web", python(SLEEP))], log=io.StringIO(), on_started=started.set)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    assert started.wait(10)
    supervisor.stop()
    thread.join(10)
    assert not thread.is_alive()


STUBBORN = (
    "import os, signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print('stubborn', os.getpid(), flush=True)\n"
    "print('grandchild', p.pid, flush=True)\n"
    "time.sleep(600)\n"
)
UP = (
    "import sys\n"
    "from services.local import Child, Supervisor\n"
    "sys.exit(Supervisor([Child('web', [sys.executable, '-c', sys.argv[1]])], log=sys.stdout).run())\n"
)
WATCHFUL = (
    "import os, signal, subprocess, sys, time\nfrom services.local import die_with_parent\ndie_with_parent()\n"
) + STUBBORN.split("\n", 1)[1]


def family_of(up: "subprocess.Popen[str]") -> list[int]:
    """The pids of a stubborn child and its child, which it has printed."""
    return [int(first_line(up).rsplit(maxsplit=1)[1]) for _ in range(2)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_orderly_stop_is_quick(number: signal.Signals) -> None:
    up = script(UP, "print('here', flush=True)\n" + SLEEP)
    first_line(up)
    started = time.monotonic()
    up.send_signal(number)
    assert finish(up) == 0
    assert time.monotonic() - started < 3


def test_a_child_that_ignores_sigterm_is_killed_within_ten_seconds_with_its_children() -> None:
    up = script(UP, STUBBORN)
    family = family_of(up)
    started = time.monotonic()
    up.send_signal(signal.SIGTERM)
    assert finish(up) == 0
    assert 6 < time.monotonic() - started < 10
    assert not any(map(alive, family))


def test_a_second_ctrl_c_kills_the_children_at_once() -> None:
    up = script(UP, STUBBORN)
    family = family_of(up)
    up.send_signal(signal.SIGINT)
    assert first_line(up) == "up  | stopping …"
    up.send_signal(signal.SIGINT)
    started = time.monotonic()
    assert finish(up) == 0
    assert time.monotonic() - started < 3
    assert not any(map(alive, family))


def test_children_and_their_children_end_with_a_killed_supervisor() -> None:
    up = script(UP, WATCHFUL)
    family = family_of(up)
    finish(up, kill=True)
    until(lambda: not any(map(alive, family)), "all of them have ended")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a parent-death signal")
def test_on_linux_a_child_that_does_not_watch_its_parent_ends_with_its_supervisor() -> None:
    up = script(UP, printing("run", SLEEP))
    child = int(first_line(up).rsplit(maxsplit=1)[1])
    finish(up, kill=True)
    until(lambda: not alive(child), "it has ended", 5)


def test_the_pause_before_a_restart_doubles_to_30_seconds_and_a_long_run_resets_it() -> None:
    backoff = Backoff()
    assert [backoff.after(1.0) for _ in range(8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert backoff.after(61.0) == 0.5
    assert backoff.after(1.0) == 1.0
