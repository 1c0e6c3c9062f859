"""Executes a program that dies with its parent: `exec_with_parent_death.py PARENT SIGNAL UID GID PROGRAM ARGUMENT…`.

This is a script of its own because running code between fork and exec is unsafe in a process with threads. It runs
with `-I -S` so that it starts quickly and imports nothing but the standard library.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, signal, uid, gid = (int(argument) for argument in sys.argv[1:5])
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    os.umask(0o077)
    if sys.platform == "linux":
        # prctl(2): setuid clears the parent-death signal, so this call comes after it.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    try:
        os.execvp(sys.argv[5], sys.argv[5:])
    except OSError as error:
        sys.exit(f"cannot start {sys.argv[5]}: {error.strerror}")


if __name__ == "__main__":
    main()
