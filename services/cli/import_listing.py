"""`paperwire import`: reads a saved listing."""

import gzip
import json as jsonlib
import sys
import zlib
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from services.cli import output
from services.cli.context import Json, command_context
from services.errors import ConfigError, SourceError

MAX_BYTES = 200 * 2**20
MAX_SKIPPED_SHOWN = 10


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A saved listing, `-` for stdin.", show_default=False)],
    format: Annotated[str, typer.Option(help="Its format; detected when left out.", show_default=False)] = "",
    date: Annotated[str, typer.Option(metavar="DAY", help="The day of its announcement.", show_default=False)] = "",
    silent: Annotated[bool, typer.Option("--silent", help="Fill the archive and announce nothing.")] = False,
    json: Json = False,
) -> None:
    """Read a saved listing; what is new is announced as after a poll."""
    from services.flow.pipeline import ingest

    day = _day(date) if date else None
    body = unwrapped(read(file))
    with command_context() as context:
        try:
            with output.working(f"importing {file}"):
                tally = ingest.import_listing(context.db, body, day=day, format=format or None, silent=silent)
        except SourceError as error:
            raise SourceError(f"{file}: {error}") from None
        counts = {name: getattr(tally, name) for name in ("found", "new", "known", "updated")}
        counts["skipped"] = len(tally.skipped)
        if json:
            skipped = [{"where": where, "reason": reason} for where, reason in tally.skipped]
            output.as_json({**counts, "silent": silent, "skipped_entries": skipped})
            return
        print(", ".join(f"{count} {name}" for name, count in counts.items()))
        for where, reason in tally.skipped[:MAX_SKIPPED_SHOWN]:
            output.say(f"skipped {where}: {reason}")
        if len(tally.skipped) > MAX_SKIPPED_SHOWN:
            print(f"… and {len(tally.skipped) - MAX_SKIPPED_SHOWN} more")
        if tally.run is not None:
            context.warn_if_no_worker_runs()


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--date takes a day such as 2025-11-06, not {text!r}") from None


def read(file: str) -> bytes:
    """The uncompressed bytes of a file. Raises SourceError when it cannot be read or is too large."""
    try:
        if file == "-":
            body = _read_limited(sys.stdin.buffer)
        elif Path(file).is_dir():
            raise SourceError(f"{file} is a directory; import one file at a time")
        else:
            with Path(file).open("rb") as stream:
                body = _read_limited(stream)
        if body.startswith(b"\x1f\x8b"):
            body = _read_limited(gzip.GzipFile(fileobj=BytesIO(body)))
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise SourceError(f"{file}: this gzip file is damaged") from None
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from None
    return body


def _read_limited(stream: "BinaryIO | gzip.GzipFile") -> bytes:
    body = stream.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise SourceError(f"a listing has at most {MAX_BYTES // 2**20} MiB")
    return body


def unwrapped(body: bytes) -> bytes:
    """The body of a recorded HTTP answer `{url, status_code, body}`; any other content unchanged."""
    if not body.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{"):
        return body
    try:
        answer: Any = jsonlib.loads(body)
    except (ValueError, RecursionError):
        return body
    if isinstance(answer, dict) and {"url", "status_code", "body"} <= answer.keys():
        if not isinstance(answer["body"], str) or not answer["body"].strip():
            raise SourceError(f"this recorded answer of {answer['url']} (status {answer['status_code']}) is empty")
        return answer["body"].encode(errors="replace")
    return body
