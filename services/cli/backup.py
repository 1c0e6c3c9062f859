"""`paperwire backup`, `restore` and `hold`: copies of the database, and the sending pause that a copy starts with."""

import sys
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import output
from services.cli.context import Json, command_context
from services.errors import ConfigError, Conflict

if TYPE_CHECKING:  # Commands import SQLAlchemy only when they need it.
    from services.store.db.database import Database

hold = typer.Typer(help="Pause sending; everything else goes on.", no_args_is_help=True)
File = Annotated[Path, typer.Argument(metavar="FILE", show_default=False)]


def backup(file: File) -> None:
    """Write the database to a file. Keep a copy of the secret key (DATA_DIR/secret.key) with the file."""
    from services import local
    from services.settings import settings

    config = settings()
    with local.database(config) as url, output.working("writing the backup"):
        local.backup(url, file)
    output.say(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
    if not config.secret_key.get_secret_value():
        output.say(f"keep {config.data_dir / 'secret.key'} with it: without that key stored tokens cannot be read")


def restore(
    file: File,
    replace: Annotated[bool, typer.Option("--replace", help="Also replace a database that has accounts.")] = False,
) -> None:
    """Replace the database by a backup. Nothing is sent afterwards until `paperwire hold off`; all sessions end."""
    from services import local
    from services.settings import settings
    from services.store.db import restored_keys
    from services.store.db.database import Database
    from services.store.delivery import sending_pause
    from services.store.maintenance import migrate

    config = settings()
    if local.running(config) is not None:
        raise Conflict("paperwire runs on this database; stop `paperwire up` first")
    reason = f"restored from {file.name}: what was sent after that backup is not known here"
    with local.database(config, lambda url: migrate.upgrade_embedded(url, config.shards)) as url:
        db = Database(url)
        try:
            _require_unused(db, replace)
            with output.working("restoring"):
                local.restore(url, file, f"{sending_pause.start_script(reason)}; {restored_keys.renew_script()}")
            db.engine.dispose()
            migrate.upgrade(url, config.shards, config.role_password if config.database_url.get_secret_value() else "")
            with db.transaction() as tx:
                sending_pause.start(tx, reason, db.now(tx))
        finally:
            db.close()
    output.say("everybody is signed out, and every Atom feed has a new address, which its subscription's page shows")
    output.say("restored; nothing is sent until you say so: see `paperwire hold status`, then `paperwire hold off`")


def _require_unused(db: "Database", replace: bool) -> None:
    from services.store.accounts import accounts

    with db.transaction() as tx:
        if accounts.all_of(tx) and not replace:
            raise Conflict("this database has accounts already; give --replace to replace them by those of the backup")


@hold.command("on")
def on(
    because: Annotated[str, typer.Option(help="The reason, shown to everybody.")] = "an operator asked for it",
) -> None:
    """Pause sending. What is due waits."""
    from services.store.delivery import sending_pause

    with command_context() as context, context.db.transaction() as tx:
        sending_pause.start(tx, because, context.db.now(tx))
    output.say("nothing is sent until `paperwire hold off`")


@hold.command("status")
def status(json: Json = False) -> None:
    """Show whether sending is paused, why, and what waits."""
    from services.store.delivery import sending_pause

    with command_context() as context, context.db.transaction() as tx:
        pause = sending_pause.status(tx)
        waiting = [asdict(papers) for papers in sending_pause.waiting_papers(tx, context.db.now(tx))]
    reason = pause.paused_because
    if json:
        output.as_json({**asdict(pause), "held": bool(reason), "waiting": waiting})
        return
    output.say(f"on since {pause.paused_at:%Y-%m-%d %H:%M} UTC: {reason}" if reason else "off: everything is sent")
    if reason:
        output.table(waiting, empty="nothing waits to be sent now")


@hold.command("off")
def off(
    sent_until: Annotated[
        str, typer.Option(metavar="DAY", help="Papers announced up to this day count as sent.", show_default=False)
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """End the pause. Shows what waits, and asks before sending it."""
    from services.store.delivery import sending_pause

    last_day = _day(sent_until) if sent_until else None
    with command_context() as context:
        with context.db.transaction() as tx:
            if not sending_pause.status(tx).paused_because:
                raise Conflict("there is no hold")
            counted = sending_pause.count_as_sent(tx, last_day) if last_day else 0
            waiting = [asdict(papers) for papers in sending_pause.waiting_papers(tx, context.db.now(tx))]
            if counted:
                output.say(f"{counted} papers on channels count as sent")
            output.table(waiting, empty="nothing waits to be sent now")
            if waiting and not yes:
                _confirm()
            sending_pause.end(tx)
        output.say("the hold is over")
        context.warn_if_no_worker_runs()


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"a day reads 2026-05-27, not {text!r}") from None


def _confirm() -> None:
    """Raises unless a person agrees."""
    if not sys.stdin.isatty():
        raise Conflict("this would be sent now; give --yes, or --sent-until DAY for what went out already")
    if not typer.confirm("Send this now?"):
        raise typer.Abort
