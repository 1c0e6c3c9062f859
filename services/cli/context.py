"""The settings and the database of a command. The embedded database is started if no `paperwire up` runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import output
from services.errors import ConfigError

if TYPE_CHECKING:  # numpy and SQLAlchemy are slow to import, and `paperwire --help` does not need them
    from services.ports import Embedder
    from services.settings import Settings
    from services.store.db.database import Database

MAX_ID = 2**63 - 1
Id = Annotated[int, typer.Argument(metavar="ID", min=1, max=MAX_ID, show_default=False)]
MaybeId = Annotated[int | None, typer.Argument(metavar="ID", min=1, max=MAX_ID, show_default=False)]
Email = Annotated[str, typer.Argument(metavar="EMAIL", help="The e-mail address of the account.", show_default=False)]
MaybeEmail = Annotated[str | None, typer.Argument(metavar="EMAIL", help="Only this account.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, slots=True)
class CommandContext:
    settings: "Settings"
    db: "Database"

    @property
    def embedder(self) -> "Embedder":
        from services.flow.upkeep.model_rollover import serving_embedder

        return serving_embedder(self.db, self.settings)

    def settings_with_key(self) -> "Settings":
        """The settings with the key that channels' secrets are encrypted with."""
        from pydantic import SecretStr

        from services import local

        return self.settings.model_copy(update={"secret_key": SecretStr(local.secret_key(self.settings))})

    def account(self, email: str) -> int:
        from services.store.accounts import accounts

        with self.db.transaction() as tx:
            return accounts.by_email(tx, email).id

    @property
    def base_url(self) -> str:
        """The URL of the pages. A running `up` may use another port than the settings say."""
        from services import local

        up = None if self.settings.database_url.get_secret_value() else local.running(self.settings)
        return up.base_url if up else self.settings.base_url

    def settings_with_base_url(self) -> "Settings":
        """The settings with the URL of the pages as people reach them."""
        return self.settings.model_copy(update={"base_url": self.base_url})

    def request_opt_in(self, channel_id: int) -> None:
        """Asks in a channel that is not confirmed, and prints what happened."""
        from services.flow.commands import opt_in
        from services.store.delivery import channels

        with self.db.transaction() as tx:
            channel = channels.find(tx, channel_id)
        if channel.verified:
            return
        if opt_in.request_opt_in(self.db, self.settings_with_base_url(), channel_id):
            result = "a confirmation mail is sent" if channel.kind == "email" else "a message there asks for that"
        else:
            result = (
                "no question is sent now, since the target got one lately (once an hour, three times a day) "
                "or wants none"
            )
        who = "its owner" if channel.kind == "email" else "somebody there"
        output.note(f"nothing is sent to {channel.label} until {who} confirms: {result}")
        self.warn_if_no_worker_runs()

    def warn_if_no_worker_runs(self) -> None:
        """Prints a note if no `paperwire up` runs that would do the work which the command has queued."""
        from services import local

        if not self.settings.database_url.get_secret_value() and local.running(self.settings) is None:
            output.note("paperwire is not running; start it with `paperwire up` to have this done")


@contextmanager
def command_context() -> Iterator[CommandContext]:
    """Opens the configured database, that of a running `up`, or the embedded one, which is migrated first."""
    from services import local
    from services.settings import settings
    from services.store.db import change_log
    from services.store.db.database import Database
    from services.store.maintenance import migrate

    config = settings()
    with local.database(config, lambda url: migrate.upgrade_embedded(url, config.shards)) as url:
        db = Database(url)
        try:
            _refuse_unmigrated(db)
            with change_log.acting(change_log.Actor("the command line")):
                yield CommandContext(config, db)
        finally:
            db.close()


def _refuse_unmigrated(db: "Database") -> None:
    from sqlalchemy.exc import OperationalError

    from services.store.maintenance import migrate

    try:
        current = migrate.is_current(db.engine)
    except OperationalError as error:
        raise ConfigError(f"the database cannot be reached: {str(error.orig).splitlines()[0]}") from None
    if not current:
        raise ConfigError("the database schema is out of date; run: paperwire migrate")
