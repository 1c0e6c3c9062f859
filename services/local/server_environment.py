"""The environment of embedded servers: what programs need to run, and no secret of the operator."""

import os

_NAMES = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TZ", "TZDIR", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}


def server_environment() -> dict[str, str]:
    """The few variables that PostgreSQL and Valkey use. Their messages are in English."""
    return {**{name: value for name, value in os.environ.items() if name in _NAMES}, "LC_ALL": "C"}
