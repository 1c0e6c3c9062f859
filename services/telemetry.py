"""Logs, metrics and fault points."""

import logging
import os
import signal
import sys

import structlog
from prometheus_client import Counter
from structlog.typing import EventDict, Processor

STAGE_ITEMS = Counter("paperwire_stage_items", "Rows a stage has worked off", ["stage"])
STAGE_ERRORS = Counter("paperwire_stage_errors", "Rows a stage failed on", ["stage"])
SCHEDULER_MISSES = Counter("paperwire_scheduler_misses", "Ticks that were missed, overrun or failed", ["job"])

log = structlog.stdlib.get_logger("paperwire")


def configure_logging(level: int = logging.INFO) -> None:
    """Logs one line per event to stderr; libraries log from WARNING on."""
    clock = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
    pre_chain: list[Processor] = [structlog.stdlib.add_log_level, clock, _without_empty_fields]
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        pad_event_to=0,
        sort_keys=False,
        # The default shows local variables, and secrets may be among them.
        exception_formatter=structlog.dev.plain_traceback,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=pre_chain))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("paperwire").setLevel(level)
    structlog.configure(
        processors=[*pre_chain, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _without_empty_fields(_: object, __: str, fields: EventDict) -> EventDict:
    """A line says nothing of what it has nothing to say of: no `why=None`."""
    return {name: value for name, value in fields.items() if value is not None and value != ""}


def fault_point(name: str, *about: str) -> None:
    """Kills the process as `kill -9` does if the environment variable FAULT names this point, for the fault tests.

    With `FAULT=name:what` only if `what` is among `about`.
    """
    fault = os.environ.get("FAULT")
    if fault is not None and (fault == name or fault in {f"{name}:{what}" for what in about}):
        os.kill(os.getpid(), signal.SIGKILL)
