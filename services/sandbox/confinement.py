"""What the child process gives up before it reads the first byte: its user, files, network and other programs.

A protection that this machine does not have is named, and the others still hold. The system calls are those of Linux;
other systems have the limits alone.
"""

import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Callable
from contextlib import suppress

USER_ID = 64_717
"""The user and group of the child when the parent is root. No account and no file should have this number."""
MAX_OPEN_FILES = 16

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_SYS_LANDLOCK_CREATE_RULESET, _SYS_LANDLOCK_RESTRICT_SELF, _LANDLOCK_CREATE_RULESET_VERSION = 444, 446, 1

# https://docs.kernel.org/userspace-api/landlock.html: the rights to files that each version of the interface knows.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}

# System calls by their number on each machine: https://github.com/torvalds/linux/tree/master/arch (syscall tables).
_FORBIDDEN = {
    "x86_64": {
        "socket": 41, "connect": 42, "accept": 43, "sendto": 44, "recvfrom": 45, "bind": 49, "listen": 50,
        "socketpair": 53, "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "ptrace": 101, "mount": 165,
        "keyctl": 250, "unshare": 272, "accept4": 288, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311,
        "bpf": 321, "execveat": 322, "io_uring_setup": 425, "clone3": 435,
    },
    "aarch64": {
        "mount": 40, "unshare": 97, "ptrace": 117, "socket": 198, "socketpair": 199, "bind": 200, "listen": 201,
        "accept": 202, "connect": 203, "sendto": 206, "recvfrom": 207, "keyctl": 219, "clone": 220, "execve": 221,
        "accept4": 242, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "bpf": 280, "execveat": 281,
        "io_uring_setup": 425, "clone3": 435,
    },
}  # fmt: skip
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000
"""Numbers above it are calls of the x32 interface, a second table of an x86_64 kernel."""
_LOAD, _JUMP_EQUAL, _JUMP_ABOVE, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _DENY, _KILL = 0x7FFF0000, 0x00050001, 0x80000000
"""Results of a filter; _DENY lets the call fail with EPERM."""


def confine() -> list[str]:
    """Gives up everything that reading listings does not need. Returns the protections that this machine lacks.

    All modules must be imported before, since no file can be opened any more.
    """
    steps: dict[str, Callable[[], None]] = {"hard limits": _limit_resources}
    if os.geteuid() == 0:
        steps["a user of its own"] = _change_user
    if sys.platform == "linux":
        steps |= {"no new privileges": _forbid_new_privileges, "no files (Landlock)": _forbid_files}
        steps |= {"no network and programs (seccomp)": _forbid_system_calls}
    else:
        return [*_missing(steps), "no files, network and programs (Linux only)"]
    return _missing(steps)


def _missing(steps: dict[str, Callable[[], None]]) -> list[str]:
    missing = []
    for name, step in steps.items():
        try:
            step()
        except (OSError, ValueError, KeyError, AttributeError):
            missing.append(name)
    return missing


def _limit_resources() -> None:
    """No core file of what was read, no file that grows, few open files. Hard, so that they cannot be raised again."""
    for what, most in (("CORE", 0), ("FSIZE", 0), ("NOFILE", MAX_OPEN_FILES)):
        limit = getattr(resource, f"RLIMIT_{what}")
        _, hard = resource.getrlimit(limit)
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (value, value))


def _change_user() -> None:
    os.setgroups([])
    os.setresgid(USER_ID, USER_ID, USER_ID)
    os.setresuid(USER_ID, USER_ID, USER_ID)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _forbid_new_privileges() -> None:
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _forbid_files() -> None:
    """Landlock: every right to open, change or run files, TCP connections, and signals to other processes."""
    version = _call("syscall", _SYS_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION)
    files = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    handled = [files, 0b11, 0b11][: 1 if version < 4 else 2 if version < 6 else 3]
    attributes = struct.pack(f"={len(handled)}Q", *handled)
    ruleset = _call("syscall", _SYS_LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        _call("syscall", _SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _forbid_system_calls() -> None:
    """seccomp: sockets, other programs, other processes' memory."""
    machine = platform.machine()
    numbers = sorted(_FORBIDDEN[machine].values())
    program = [(_LOAD, 0, 0, 4), (_JUMP_EQUAL, 1, 0, _AUDIT_ARCH[machine]), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    checks = [(_JUMP_ABOVE, _X32_BIT), *((_JUMP_EQUAL, number) for number in numbers)]
    # A check that holds jumps over the remaining checks and over the next return, which allows.
    program += [(code, len(checks) - place, 0, value) for place, (code, value) in enumerate(checks)]
    program += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _DENY)]
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    filter_program = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    _call("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, filter_program)


def _call(name: str, *arguments: int | bytes | None) -> int:
    """A function of the C library. Raises OSError when it returns -1."""
    library = ctypes.CDLL(None, use_errno=True)
    function = getattr(library, name)
    function.restype = ctypes.c_long
    result: int = function(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
    if result == -1:
        raise OSError(ctypes.get_errno(), f"{name} failed")
    return result
