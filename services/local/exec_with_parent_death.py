"""Becomes another program that dies with its parent: `launcher.py PARENT SIGNAL UID GID PROGRAM ARGUMENT…`.

Run as a script with `-I -S`, so that nothing but the standard library is in reach and it starts quickly. A program of
its own, since code between fork and exec is unsafe in a process with threads.
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
        # After the change of user, which resets it.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    try:
        os.execvp(sys.argv[5], sys.argv[5:])
    except OSError as error:
        sys.exit(f"cannot start {sys.argv[5]}: {error.strerror}")


if __name__ == "__main__":
    main()
