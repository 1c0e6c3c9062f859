"""The list of commands. An error becomes one line on stderr and an exit code."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from services.cli import (
    backup,
    channels,
    command_log,
    deliveries,
    explain,
    import_listing,
    output,
    quarantine,
    roles,
    silences,
    sources,
    subscriptions,
    up,
    users,
)
from services.errors import PaperwireError

USAGE, FAILED, INTERRUPTED = 2, 1, 130

app = typer.Typer(
    name="paperwire",
    help="Match new research papers against subscriptions and send each match once, with the reason.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.callback()
def use_data_dir(
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The directory of all data. Default: PAPERWIRE_DATA_DIR.")
    ] = None,
) -> None:
    if data_dir:
        from services.settings import settings

        os.environ["PAPERWIRE_DATA_DIR"] = str(data_dir.expanduser().absolute())
        settings.cache_clear()


app.command()(up.up)
app.command()(roles.web)
app.command()(roles.worker)
app.command()(roles.scheduler)
app.command()(roles.migrate)
app.add_typer(sources.commands, name="source")
app.command("import")(import_listing.import_)
app.add_typer(users.commands, name="user")
app.add_typer(channels.commands, name="channel")
app.command()(subscriptions.subscribe)
app.add_typer(subscriptions.commands, name="subscription")
app.add_typer(silences.commands, name="silence")
app.command()(explain.preview)
app.command()(explain.why)
app.command()(deliveries.deliveries)
app.command()(deliveries.retry)
app.command()(deliveries.bounces)
app.command()(deliveries.audit)
app.add_typer(quarantine.commands, name="quarantine")
app.command()(backup.backup)
app.command()(backup.restore)
app.add_typer(backup.hold, name="hold")


class _Command(TyperCommand):
    """Writes a required argument as `FILE` in the usage line, where Typer writes `{FILE}`, and logs what was run."""

    def invoke(self, ctx: Any) -> Any:
        outcome = "failed"
        try:
            result = super().invoke(ctx)
            outcome = "done"
            return result
        finally:
            command_log.write(ctx.command_path.partition(" ")[2], ctx.params, outcome)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]


def _typer_apps(root: typer.Typer) -> Iterator[typer.Typer]:
    yield root
    for group in root.registered_groups:
        if group.typer_instance is not None:
            yield from _typer_apps(group.typer_instance)


for typer_app in _typer_apps(app):
    for command in typer_app.registered_commands:
        command.cls = _Command


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code. PAPERWIRE_DEBUG=1 shows the traceback of an unexpected error."""
    try:
        return app(args=list(arguments), prog_name="paperwire", standalone_mode=False) or 0
    except typer.TyperException as error:
        output.print_usage_error(error)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        output.discard_stdout()
        return FAILED
    except PaperwireError as error:
        output.print_error(error)
        return FAILED
    except Exception as error:
        if os.environ.get("PAPERWIRE_DEBUG") == "1":
            raise
        output.print_error(error)
        return FAILED
