"""The CPU time of one call."""

from collections.abc import Callable
from time import thread_time
from timeit import timeit


def cpu_seconds(call: Callable[[], object]) -> float:
    """The CPU time of one call on this thread.

    Other threads of the test process do not count, nor does a garbage collection of all that earlier tests left:
    `timeit` turns it off. The call runs once, since caches would answer a second one.
    """
    return timeit(call, timer=thread_time, number=1)
