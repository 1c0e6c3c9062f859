"""Every command under its name, and what becomes of an error: one line on stderr and an exit code."""

import os
from collections.abc import Sequence

import typer

from services.cli import (
    backup,
    channels,
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
    help="Research-paper alerts: every new listing matched against subscriptions, delivered once, with the reason.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
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


def run(arguments: Sequence[str]) -> int:
    """Runs one command; its exit code. PAPERWIRE_DEBUG=1 shows where an error comes from."""
    try:
        return app(args=list(arguments), prog_name="paperwire", standalone_mode=False) or 0
    except typer.TyperException as error:
        output.usage(error)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        output.forget()
        return FAILED
    except PaperwireError as error:
        output.failure(error)
        return FAILED
    except Exception as error:
        if os.environ.get("PAPERWIRE_DEBUG") == "1":
            raise
        output.failure(error)
        return FAILED
