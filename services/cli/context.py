"""What commands work with: the settings and the database, joined or started for as long as they need it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import output
from services.errors import ConfigError

if TYPE_CHECKING:  # numpy and SQLAlchemy take their time, and `paperwire --help` needs neither
    from services.ports import Embedder
    from services.settings import Settings
    from services.store.db.database import Database

MAX_ID = 2**63 - 1
Id = Annotated[int, typer.Argument(metavar="ID", min=1, max=MAX_ID, show_default=False)]
MaybeId = Annotated[int | None, typer.Argument(metavar="[ID]", min=1, max=MAX_ID, show_default=False)]
Email = Annotated[str, typer.Argument(metavar="EMAIL", help="The account's address.", show_default=False)]
MaybeEmail = Annotated[str | None, typer.Argument(metavar="[EMAIL]", help="Only this account.", show_default=False)]
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
            return int(accounts.by_email(tx, email)["id"])

    @property
    def base_url(self) -> str:
        """Where the pages are; a running `up` may have been given another port."""
        from services import local

        up = None if self.settings.database_url.get_secret_value() else local.running(self.settings)
        return up.base_url if up else self.settings.base_url

    def settings_with_base_url(self) -> "Settings":
        """The settings with the address that people know the pages by."""
        return self.settings.model_copy(update={"base_url": self.base_url})

    def ask(self, channel_id: int) -> None:
        """Has a channel that is not confirmed asked by mail, and says so."""
        from services.flow.commands import opt_in
        from services.store.delivery import channels

        with self.db.transaction() as tx:
            row = channels.find(tx, channel_id)
        if row["verified"]:
            return
        asked = opt_in.ask(self.db, self.settings_with_base_url(), channel_id)
        done = "a mail asks it" if asked else "it was asked lately (once an hour, three times a day), or wants no mails"
        output.note(f"nothing is sent to {row['label']} until its owner agrees: {done}")
        self.warn_if_no_worker_runs()

    def warn_if_no_worker_runs(self) -> None:
        """Tells people when nothing runs that would do what a command leaves to do."""
        from services import local

        if not self.settings.database_url.get_secret_value() and local.running(self.settings) is None:
            output.note("paperwire does not run here now; this is done as soon as `paperwire up` runs")


@contextmanager
def command_context() -> Iterator[CommandContext]:
    """The database that is set, a running `up`'s, or the embedded one, migrated."""
    from services import local
    from services.settings import settings
    from services.store.db.database import Database
    from services.store.maintenance import migrate

    config = settings()
    with local.database(config, lambda url: migrate.upgrade(url, config.shards)) as url:
        db = Database(url)
        try:
            _refuse_unmigrated(db)
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
        raise ConfigError("the database has not the tables of this paperwire; run: paperwire migrate")
