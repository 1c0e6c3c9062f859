"""`paperwire source …`: where papers are announced."""

import re
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from services.cli import output
from services.cli.context import Id, Json, MaybeId, command_context
from services.errors import ConfigError, NotFound

commands = typer.Typer(help="Sources of papers: arXiv, feeds and others.", no_args_is_help=True)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_OF_SOURCE = ("kind", "location", "polled", "every", "polled_at")
_OF_BATCH = ("day", "found", "new", "skipped", "state")


def duration(text: str) -> timedelta:
    """Reads `15m`, `90s`, `2h` or `1d`. Raises ConfigError."""
    parts = re.fullmatch(r"([1-9]\d{0,5})([smhd])", text.strip().lower(), re.ASCII)
    if not parts:
        raise ConfigError(f"a time span reads 15m, 2h or 1d, not {text!r}")
    return timedelta(**{_UNITS[parts[2]]: int(parts[1])})


@commands.command()
def add(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="arxiv, daily-papers, feed …", show_default=False)],
    location: Annotated[
        str,
        typer.Argument(metavar="LOCATION", help="What to poll, for example cs.LG for arxiv or the URL of a feed."),
    ] = "",
    every: Annotated[str, typer.Option(help="The poll interval, like 15m or 2h. Default: that of the kind.")] = "",
    announce: Annotated[
        bool, typer.Option("--announce", help="Also match and send the papers of the first poll.")
    ] = False,
) -> None:
    """Add a source. Its first poll adds papers to the archive and sends nothing."""
    from services import plugins
    from services.flow.commands.add_source import add_source
    from services.store.db.database import wake

    plugin = plugins.source(kind)
    canonical = plugin.location(location)
    if plugin.every is None:
        raise ConfigError(f"{kind} is only read from files; use: paperwire import FILE --format {plugin.formats[0]}")
    interval = duration(every) if every else plugin.every
    with command_context() as context:
        with context.db.transaction() as tx:
            source_id = add_source(tx, plugin, canonical, interval, announce_first=announce)
            wake(tx, "poll")
        output.say(f"source {source_id}: {kind} {canonical}".rstrip() + f", every {output.duration(interval)}")
        context.warn_if_no_worker_runs()


@commands.command("list")
def list_(json: Json = False) -> None:
    """Show every source with its last poll."""
    from services.store.sources import sources

    with command_context() as context, context.db.transaction() as tx:
        known = [asdict(source) for source in sources.all_with_newest_batch(tx)]
    if json:
        names = (*_OF_SOURCE, "next_poll_at", "failures", "error")
        output.as_json(
            [
                {
                    "id": str(source["id"]),
                    **{name: source[name] for name in names},
                    "every": source["every"].total_seconds() if source["every"] else None,
                    "last_batch": {name: source[name] for name in _OF_BATCH} if source["state"] else None,
                }
                for source in known
            ]
        )
        return
    columns = ("id", *_OF_SOURCE, *_OF_BATCH, "error")
    output.table([{name: source[name] for name in columns} for source in known], empty="no sources yet")


@commands.command()
def poll(source: MaybeId = None) -> None:
    """Poll one source, or all sources, now."""
    from services.store.db.database import wake
    from services.store.sources import sources

    with command_context() as context:
        with context.db.transaction() as tx:
            count = sources.poll_now(tx, source)
            if not count:
                raise NotFound(f"no polled source {source}" if source else "no source is polled; add one first")
            wake(tx, "poll")
        output.say(f"{count} source{'s' * (count != 1)} due now")
        context.warn_if_no_worker_runs()


@commands.command()
def remove(source: Id) -> None:
    """Remove a source. Its papers stay in the archive."""
    from services.store.sources import sources

    with command_context() as context, context.db.transaction() as tx:
        sources.remove(tx, source)
    output.say(f"source {source} is no longer polled")


@commands.command("ledger")
def ledger_(source: Id, json: Json = False) -> None:
    """Show the listings of a source by day: papers found, new and skipped, and missing days."""
    from services.store.sources import batches

    with command_context() as context, context.db.transaction() as tx:
        known = [asdict(batch) for batch in batches.of_source(tx, source)]
    names = ("announced", "fetched", "new", "updated", "skipped", "state", "note")
    days = [{"day": batch["announced_on"], **{name: batch[name] for name in names}} for batch in known]
    if json:
        output.as_json(days)
        return
    output.table(
        [{**day, "announced": "not stated" if day["announced"] is None else day["announced"]} for day in days],
        empty=f"source {source} has announced nothing yet",
    )
