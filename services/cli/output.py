"""What commands print: tables and lines for people, JSON for programs, one line on stderr when something is wrong."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time
from typing import Any

import typer

from services.errors import PaperwireError, QueryError

WIDE = 100_000
"""Columns of a pipe: nothing is cut for programs."""
Row = dict[str, Any]


def as_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> str:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, time):
        return f"{value:%H:%M}"
    return str(value)


def say(line: str, label: str = "") -> None:
    """A line for people: what feeds and mail servers wrote in it cannot steer a terminal."""
    from services.render import line as harmless

    print(label + harmless(line, 2000))


def note(line: str) -> None:
    """Beside the answer, on stderr, so that a pipe gets the answer alone."""
    print(line, file=sys.stderr)


def table(rows: Sequence[Row], *, empty: str) -> None:
    """Rows of equal keys as a table, whole in a pipe."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from services.render import line as harmless

    if not rows:
        print(empty)
        return
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        grid.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        grid.add_row(*(Text(harmless(_cell(value), 2000)) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else WIDE, highlight=False).print(grid)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return _plain(value)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Shows on a terminal that long work goes on."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


def one_line(error: Exception) -> str:
    """What went wrong; an error that nobody foresaw is named by its type."""
    text = " ".join(str(error).split())
    return text if isinstance(error, PaperwireError) else f"{type(error).__name__}: {text[:500] or 'without a word'}"


def failure(error: Exception) -> None:
    """An error in one line; for a query also the place."""
    hint = "" if isinstance(error, PaperwireError) else " (PAPERWIRE_DEBUG=1 shows where)"
    note(f"error: {one_line(error)}{hint}")
    if isinstance(error, QueryError):
        note(error.caret())


def usage(error: typer.TyperException) -> None:
    """What is wrong with the command's words; the help when there were none."""
    context = getattr(error, "ctx", None)
    message = error.format_message().strip()
    if "\n" in message or not message:
        note(message)
        return
    hint = f" (see {context.command_path} --help)" if context else ""
    note(f"error: {message.rstrip('.')}{hint}")


def forget() -> None:
    """Nobody reads on: the interpreter's own flush at exit must not complain about it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
