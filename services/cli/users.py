"""`paperwire user …`: accounts, their sign-in links and tokens."""

from typing import Annotated

import typer

from services.cli import output
from services.cli.context import Email, Json, command_context
from services.errors import ConfigError

commands = typer.Typer(help="Accounts.", no_args_is_help=True)


@commands.command()
def add(
    email: Email,
    timezone: Annotated[str, typer.Option(metavar="TZ", help="Like Europe/Berlin.", show_default=False)] = "",
) -> None:
    """Add an account; the first one is the operator."""
    from services.store.accounts import accounts

    with command_context() as context, context.db.transaction() as tx:
        first = accounts.first_operator(tx) is None
        account_id = accounts.add(tx, email, timezone or context.settings.timezone, operator=first)
    output.say(f"account {account_id}: {email}" + (" (operator)" if first else ""))


@commands.command("set")
def set_(
    email: Email,
    timezone: Annotated[str | None, typer.Option(metavar="TZ", help="Like Europe/Berlin.", show_default=False)] = None,
    quiet: Annotated[str | None, typer.Option(help="Like 22:00-07:00; '' for none.", show_default=False)] = None,
) -> None:
    """Change an account's time zone or quiet hours."""
    from services.store.accounts import accounts

    if timezone is None and quiet is None:
        raise ConfigError("nothing to change; give --timezone or --quiet")
    with command_context() as context, context.db.transaction() as tx:
        account_id = accounts.by_email(tx, email)["id"]
        if timezone is not None:
            accounts.change(tx, account_id, timezone=accounts.known_timezone(timezone))
        if quiet is not None:
            start, end = accounts.quiet_hours(quiet)
            accounts.change(tx, account_id, quiet_from=start, quiet_to=end)
    output.say(f"{email} changed")


@commands.command("list")
def list_(json: Json = False) -> None:
    """Show every account."""
    from services.store.accounts import accounts

    with command_context() as context, context.db.transaction() as tx:
        rows = [
            {
                "id": str(row["id"]),
                "email": row["email"],
                "timezone": row["timezone"],
                "quiet_hours": f"{row['quiet_from']:%H:%M}-{row['quiet_to']:%H:%M}" if row["quiet_from"] else None,
                "operator": row["operator"],
                "created_at": row["created_at"],
            }
            for row in accounts.all_of(tx)
        ]
    output.as_json(rows) if json else output.table(rows, empty="no accounts yet")


@commands.command()
def link(email: Email) -> None:
    """Print a fresh sign-in link, good once and for 15 minutes; older ones stop working."""
    from services.store.accounts import accounts
    from services.web.auth import signin_url

    with command_context() as context:
        with context.db.transaction() as tx:
            key = accounts.new_link(tx, accounts.by_email(tx, email)["id"])
        print(signin_url(context.base_url, key))


@commands.command()
def token(email: Email) -> None:
    """Print a new API token; it is shown this once."""
    from services.store.accounts import accounts

    with command_context() as context, context.db.transaction() as tx:
        secret = accounts.new_token(tx, accounts.by_email(tx, email)["id"])
    print(secret)
    output.note("keep it; it cannot be shown again")


@commands.command()
def delete(email: Email) -> None:
    """Delete an account with its subscriptions, channels and deliveries."""
    from services.store.accounts import accounts

    with command_context() as context, context.db.transaction() as tx:
        accounts.remove(tx, accounts.by_email(tx, email)["id"])
    output.say(f"{email} deleted")
