"""`paperwire user …`: accounts, their sign-in links and tokens."""

from typing import Annotated

import typer

from services.cli import output
from services.cli.context import Email, Json, command_context
from services.errors import ConfigError

commands = typer.Typer(help="Accounts, their sign-in links and tokens.", no_args_is_help=True)


@commands.command()
def add(
    email: Email,
    timezone: Annotated[
        str, typer.Option(metavar="TZ", help="The time zone, like Europe/Berlin.", show_default=False)
    ] = "",
) -> None:
    """Add an account; the first one is the operator."""
    from services.store.accounts import accounts

    with command_context() as context, context.db.transaction() as tx:
        is_first = accounts.first_operator(tx) is None
        account_id = accounts.add(tx, email, timezone or context.settings.timezone, operator=is_first)
    output.say(f"account {account_id}: {email}" + (" (operator)" if is_first else ""))


@commands.command("set")
def set_(
    email: Email,
    timezone: Annotated[
        str | None, typer.Option(metavar="TZ", help="The time zone, like Europe/Berlin.", show_default=False)
    ] = None,
    quiet: Annotated[
        str | None, typer.Option(help="The quiet hours, like 22:00-07:00; '' for none.", show_default=False)
    ] = None,
) -> None:
    """Change an account's time zone or quiet hours."""
    from services.domain.accounts.profile import parse_quiet_hours, parse_timezone
    from services.store.accounts import accounts

    if timezone is None and quiet is None:
        raise ConfigError("nothing to change; give --timezone or --quiet")
    with command_context() as context, context.db.transaction() as tx:
        account = accounts.by_email(tx, email)
        zone = account.timezone if timezone is None else parse_timezone(timezone)
        quiet_hours = (account.quiet_from, account.quiet_to) if quiet is None else parse_quiet_hours(quiet)
        accounts.set_hours(tx, account.id, zone, *quiet_hours)
    output.say(f"{email} changed")


@commands.command("list")
def list_(json: Json = False) -> None:
    """Show every account."""
    from services.store.accounts import accounts

    with command_context() as context, context.db.transaction() as tx:
        rows = [
            {
                "id": str(account.id),
                "email": account.email,
                "timezone": account.timezone,
                "quiet_hours": f"{account.quiet_from:%H:%M}-{account.quiet_to:%H:%M}" if account.quiet_from else None,
                "operator": account.operator,
                "created_at": account.created_at,
            }
            for account in accounts.all_of(tx)
        ]
    output.as_json(rows) if json else output.table(rows, empty="no accounts yet")


@commands.command()
def link(email: Email) -> None:
    """Print a new sign-in link, valid once and for 15 minutes; older ones stop working."""
    from services.store.accounts import accounts, credentials, members
    from services.web.auth import signin_url

    with command_context() as context:
        with context.db.transaction() as tx:
            member = members.find(tx, email.strip().lower())
            account_id = member.account_id if member else accounts.by_email(tx, email).id
            key = credentials.create_signin_link(tx, account_id, email=member.email if member else "")
        print(signin_url(context.base_url, key))


@commands.command()
def invite(email: Email) -> None:
    """Mail a link with which an address makes its own account, valid once and for seven days."""
    from services.flow.commands import sign_up
    from services.store.accounts import accounts

    with command_context() as context:
        with context.db.transaction() as tx:
            operator = accounts.first_operator(tx)
        if operator is None:
            raise ConfigError("there is no operator yet; add one with: paperwire user add you@example.org")
        sign_up.invite(context.db, context.settings, email, operator.id)
        output.say(f"{email} is invited; the mail is sent now")
        context.warn_if_no_worker_runs()


@commands.command()
def token(email: Email) -> None:
    """Print a new API token. It cannot be shown again."""
    from services.store.accounts import accounts, credentials

    with command_context() as context, context.db.transaction() as tx:
        secret = credentials.create_api_token(tx, accounts.by_email(tx, email).id)
    print(secret)
    output.note("keep it; it cannot be shown again")


@commands.command()
def delete(email: Email) -> None:
    """Delete an account with its subscriptions, channels and deliveries."""
    from services.store.accounts import accounts

    with command_context() as context, context.db.transaction() as tx:
        accounts.remove(tx, accounts.by_email(tx, email).id)
    output.say(f"{email} deleted")
