"""Embedding a text tells no one: no file below the home directory, no socket, no thread that could open one later."""

import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

EMBED = """
import json, sys, threading
import psutil
from services.domain.interests import int8_matmul
from services.embedders.minilm import plugin
import numpy
before = psutil.Process().num_threads() - threading.active_count()
plugin("").embed(["Agents that plan"])
int8_matmul.product(numpy.ones((2, 2), numpy.uint8), numpy.ones((2, 2), numpy.int8))
after = psutil.Process().num_threads() - threading.active_count()
print(json.dumps({"native threads": after - before, "loaded": "onnxruntime" in sys.modules}))
"""
FORBID_SOCKETS = """
import ctypes
class Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.POINTER(Instruction))]
# Load the number of the system call; end the process if it is that of socket(), else allow it.
filter = (Instruction * 4)((0x20, 0, 0, 0), (0x15, 0, 1, SOCKET), (0x06, 0, 0, 0x80000000), (0x06, 0, 0, 0x7fff0000))
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
    PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(Program(4, filter)), 0, 0
):
    raise SystemExit(77)
"""
SOCKET = {"x86_64": 41, "aarch64": 198}
"""The number of the system call socket(), by machine."""


def run(code: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """In a process whose environment holds a home directory that is empty, and no word on telemetry."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    data_dir = os.environ["PAPERWIRE_DATA_DIR"]
    environment = {"HOME": str(home), "PAPERWIRE_DATA_DIR": data_dir, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_embedding_writes_nothing_below_home_and_leaves_no_thread_behind(tmp_path: Path) -> None:
    done = run(EMBED, tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"native threads": 0, "loaded": True}
    assert list((tmp_path / "home").rglob("*")) == []


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in SOCKET, reason="the filter is written for Linux on these"
)
def test_embedding_opens_no_socket(tmp_path: Path) -> None:
    """A look-up of a host, also one by native code, opens a socket; the kernel ends the process that does."""
    forbid = f"SOCKET = {SOCKET.get(platform.machine())}\n{FORBID_SOCKETS}"
    lookup = run(f"{forbid}\nimport socket; socket.getaddrinfo('paperwire.invalid', 443)", tmp_path)
    if lookup.returncode == 77:
        pytest.skip("this kernel gives a process no seccomp filter")
    assert lookup.returncode == -signal.SIGSYS, "the filter does not work"
    done = run(f"{forbid}\n{EMBED}", tmp_path)
    assert done.returncode == 0, done.stderr
