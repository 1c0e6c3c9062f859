"""`paperwire silence …`: what is not to be heard for a while."""

from typing import Annotated

import typer

from services.cli import output
from services.cli.context import MAX_ID, Email, Id, Json, MaybeEmail, command_context

commands = typer.Typer(help="Silences: drop matching papers for a while.", no_args_is_help=True)
Query = Annotated[
    str, typer.Option(metavar="Q", help="Only papers that match this query. Default: all papers.", show_default=False)
]
_one = typer.Option(metavar="ID", help="Only papers of this subscription.", min=1, max=MAX_ID, show_default=False)
Subscription = Annotated[int | None, _one]


@commands.command()
def add(
    email: Email,
    until: Annotated[str, typer.Option(metavar="DATE", help="The day when the silence ends, like 2026-01-31.")],
    query: Query = "",
    subscription: Subscription = None,
) -> None:
    """Add a silence. The papers it covers are dropped until a day; `paperwire why` shows that."""
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
    """Show the active silences of one account, or of all."""
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
    """End a silence now. The papers that it dropped stay dropped."""
    from services.store.subscriptions import silences

    with command_context() as context, context.db.transaction() as tx:
        silences.end(tx, silence)
    output.say(f"silence {silence} ended")
