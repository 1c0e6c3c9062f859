"""Output of the commands: tables and lines for people, JSON for programs, one line on stderr for an error."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from typing import Any

import typer

from services.errors import PaperwireError, QueryError

MAX_ERROR = 600
"""Characters of an error line."""
PIPE_WIDTH = 100_000
"""Columns of a table in a pipe, so that rich wraps no cell."""
TableRow = dict[str, Any]


def as_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, default=_to_text))


def _to_text(value: Any) -> str:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, time):
        return f"{value:%H:%M}"
    return duration(value) if isinstance(value, timedelta) else str(value)


def duration(span: timedelta) -> str:
    """`15m`, `2h`, `1d`: the form that options take. A span that no unit divides is written in seconds."""
    seconds = int(span.total_seconds())
    units = (("d", 86_400), ("h", 3_600), ("m", 60))
    return next((f"{seconds // size}{unit}" for unit, size in units if seconds and seconds % size == 0), f"{seconds}s")


def say(line: str, label: str = "") -> None:
    """Prints a line without the control characters that a feed or a mail server may have put into it."""
    from services.render import line as without_control_characters

    print(label + without_control_characters(line, 2000))


def note(line: str) -> None:
    """Prints a line on stderr, so that a pipe receives only the result."""
    print(line, file=sys.stderr)


def table(rows: Sequence[TableRow], *, empty: str) -> None:
    """Prints rows with equal keys as a table. In a pipe no cell is wrapped."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from services.render import line as without_control_characters

    if not rows:
        print(empty)
        return
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        grid.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        grid.add_row(*(Text(without_control_characters(_cell(value), 2000)) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False).print(grid)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return _to_text(value)


@contextmanager
def working(status: str) -> Iterator[None]:
    """Shows a status line while the block runs, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(status):
        yield


def shortened(text: str) -> str:
    """At most MAX_ERROR characters: an error may quote what was typed, and that may be a whole file."""
    return text if len(text) <= MAX_ERROR else f"{text[: MAX_ERROR // 2]} … {text[-MAX_ERROR // 4 :]}"


def one_line(error: Exception) -> str:
    """The error's text in one line. The type of an unexpected error comes first."""
    text = shortened(" ".join(str(error).split()))
    return text if isinstance(error, PaperwireError) else f"{type(error).__name__}: {text[:500] or 'no message'}"


def print_error(error: Exception) -> None:
    """Prints an error in one line; a QueryError is followed by the query with a caret under the position."""
    hint = "" if isinstance(error, PaperwireError) else " (set PAPERWIRE_DEBUG=1 to see the traceback)"
    note(f"error: {one_line(error)}{hint}")
    if isinstance(error, QueryError):
        note(error.caret())


def print_usage_error(error: typer.TyperException) -> None:
    """Prints what is wrong with the arguments, or the help of a group that was given no command."""
    context = getattr(error, "ctx", None)
    message = error.format_message().strip()
    if len(message) > MAX_ERROR:
        message = shortened(" ".join(message.split()))
    if "\n" in message or not message:
        note(message)
        return
    hint = f" (see {context.command_path} --help)" if context else ""
    note(f"error: {message.rstrip('.')}{hint}")


def discard_stdout() -> None:
    """Redirects stdout to /dev/null after a BrokenPipeError; otherwise the interpreter reports it again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
