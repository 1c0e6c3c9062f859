"""`paperwire import`: reads a listing from a file instead of polling a source."""

import gzip
import json as jsonlib
import sys
import zlib
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from services.cli import output
from services.cli.context import Json, command_context
from services.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from services.flow.pipeline.ingest import Tally

MAX_BYTES = 200 * 2**20
MAX_SKIPPED_LINES = 10


def import_(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="Saved listings; `-` reads stdin.", show_default=False)
    ],
    format: Annotated[str, typer.Option(help="The format of the listing. Default: detected.", show_default=False)] = "",
    date: Annotated[
        str, typer.Option(metavar="DAY", help="The day the listing was announced, like 2025-11-06.", show_default=False)
    ] = "",
    silent: Annotated[bool, typer.Option("--silent", help="Add the papers to the archive and send nothing.")] = False,
    json: Json = False,
) -> None:
    """Import saved listings. New papers are matched and sent as if a poll had found them."""
    from services.flow.pipeline import ingest

    day = _day(date) if date else None
    imported, failed = list[dict[str, Any]](), list[SourceError]()
    has_events = False
    with command_context() as context:
        for file in files:
            try:
                body = unwrapped(read(file))
                with output.working(f"importing {file}"):
                    tally = ingest.import_listing(context.db, body, day=day, format=format or None, silent=silent)
            except SourceError as error:
                # The other files are imported all the same. Importing this one again later changes nothing for them.
                failed.append(SourceError(str(error) if file in str(error) else f"{file}: {error}"))
                continue
            has_events |= tally.run is not None
            imported.append({"file": file, **_counts(tally), "silent": silent, "skipped_entries": _skipped(tally)})
            if not json:
                _print(imported[-1], name=file if len(files) > 1 else "")
        if has_events and not json:
            context.warn_if_no_worker_runs()
    if json and imported:
        output.as_json(imported if len(files) > 1 else imported[0])
    if failed:
        for failure in failed[:-1]:
            output.print_error(failure)
        raise failed[-1]


def _counts(tally: "Tally") -> dict[str, int]:
    counts = {name: getattr(tally, name) for name in ("found", "new", "known", "updated")}
    return {**counts, "skipped": len(tally.skipped)}


def _skipped(tally: "Tally") -> list[dict[str, str]]:
    return [{"where": where, "reason": reason} for where, reason in tally.skipped]


def _print(imported: dict[str, Any], name: str) -> None:
    counts = [f"{imported[kind]} {kind}" for kind in ("found", "new", "known", "updated", "skipped")]
    output.say((f"{name}: " if name else "") + ", ".join(counts))
    for entry in imported["skipped_entries"][:MAX_SKIPPED_LINES]:
        output.say(f"skipped {entry['where']}: {entry['reason']}")
    if len(imported["skipped_entries"]) > MAX_SKIPPED_LINES:
        print(f"… and {len(imported['skipped_entries']) - MAX_SKIPPED_LINES} more")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--date takes a day like 2025-11-06, not {text!r}") from None


def read(file: str) -> bytes:
    """The bytes of a file, decompressed. Raises SourceError if it cannot be read or is too large."""
    try:
        if file == "-":
            body = _capped(sys.stdin.buffer)
        elif Path(file).is_dir():
            raise SourceError(f"{file} is a directory; name its files, for example {file}/*")
        else:
            with Path(file).open("rb") as stream:
                body = _capped(stream)
        if body.startswith(b"\x1f\x8b"):
            body = _capped(gzip.GzipFile(fileobj=BytesIO(body)))
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise SourceError(f"{file} is a damaged gzip file; download it again") from None
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from None
    return body


def _capped(stream: "BinaryIO | gzip.GzipFile") -> bytes:
    body = stream.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise SourceError(f"the listing is larger than {MAX_BYTES // 2**20} MiB; split it into several files")
    return body


def unwrapped(body: bytes) -> bytes:
    """The body of a recorded HTTP response `{url, status_code, body}`; any other content unchanged."""
    if not body.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{"):
        return body
    try:
        answer: Any = jsonlib.loads(body)
    except (ValueError, RecursionError):
        return body
    if isinstance(answer, dict) and {"url", "status_code", "body"} <= answer.keys():
        if not isinstance(answer["body"], str) or not answer["body"].strip():
            raise SourceError(f"the recorded response of {answer['url']} (status {answer['status_code']}) has no body")
        return answer["body"].encode(errors="replace")
    return body
