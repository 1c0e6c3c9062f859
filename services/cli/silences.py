"""`paperwire silence …`: what is not to be heard for a while."""

from typing import Annotated

import typer

from services.cli import output
from services.cli.context import MAX_ID, Email, Id, Json, MaybeEmail, command_context

commands = typer.Typer(help="What is not to be heard for a while.", no_args_is_help=True)
Query = Annotated[str, typer.Option(metavar="Q", help="Only papers that match; else all.", show_default=False)]
_one = typer.Option(metavar="ID", help="Only what this one asks for.", min=1, max=MAX_ID, show_default=False)
Subscription = Annotated[int | None, _one]


@commands.command()
def add(
    email: Email,
    until: Annotated[str, typer.Option(metavar="DATE", help="Like 2026-01-31: heard again from then on.")],
    query: Query = "",
    subscription: Subscription = None,
) -> None:
    """Drop the papers it covers until a day begins; `why` says so."""
    from services.flow.commands import subscribe
    from services.store.accounts import accounts
    from services.store.subscriptions import silences

    with command_context() as context:
        now = context.db.now()
        with context.db.transaction() as tx:
            account = accounts.by_email(tx, email)
            moment = subscribe.start_of(until, account.timezone)
            made = silences.add(tx, account.id, moment, now, query, subscription)
    output.say(f"silence {made} until {until}")


@commands.command("list")
def list_(email: MaybeEmail = None, json: Json = False) -> None:
    """Show the silences in force, of one account or of all."""
    from services.store.subscriptions import silences

    with command_context() as context:
        now = context.db.now()
        account_id = context.account(email) if email else None
        with context.db.transaction() as tx:
            found = [
                {
                    "id": str(row["id"]),
                    "account": row["email"],
                    "until": row["until"],
                    "query": row["query"],
                    "subscription": str(row["subscription_id"]) if row["subscription_id"] else None,
                    "name": row["name"] or "",
                }
                for row in silences.all_of(tx, now, account_id)
            ]
    output.as_json(found) if json else output.table(found, empty="nothing is silenced")


@commands.command()
def end(silence: Id) -> None:
    """End one now; what it dropped stays dropped."""
    from services.store.subscriptions import silences

    with command_context() as context, context.db.transaction() as tx:
        silences.end(tx, silence)
    output.say(f"silence {silence} ended")
