"""Which tests stay together in one process of pytest-xdist."""

from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling

SERVICE = {"test_compose.py", "test_guarantees.py", "test_up.py", "test_wheel.py"}
"""Files whose tests start the whole service: about ten processes that each load the libraries."""
SERVERS = {"faults", "local", "workers"}
"""Folders whose tests start database servers, brokers and single workers."""


def group_of(nodeid: str) -> str | None:
    """Tests that start processes run one after another in two groups, side by side.

    More of them at once would wait for each other beyond their deadlines. `xdist_group` is not used: pytest-xdist 3.8
    ignores it with pytest 9.2 (https://github.com/pytest-dev/pytest-xdist/issues/1386).
    """
    file = PurePosixPath(nodeid.partition("::")[0])
    if file.name in SERVICE:
        return "service"
    if SERVERS & set(file.parts[:-1]):
        return "servers"
    return None


class Grouped(LoadScopeScheduling):
    """Hands out the two groups first, as the largest, then every other test alone."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid) or nodeid
