"""`paperwire silence …`: adds, lists and ends silences."""

from typing import Annotated

import typer

from services.cli import output
from services.cli.context import MAX_ID, Email, Id, Json, MaybeEmail, command_context

commands = typer.Typer(help="Silences: drop matching papers for a while.", no_args_is_help=True)
Query = Annotated[str, typer.Option(metavar="Q", help="Only papers that match. Default: all.", show_default=False)]
_subscription = typer.Option(
    metavar="ID", help="Only papers of this subscription.", min=1, max=MAX_ID, show_default=False
)
Subscription = Annotated[int | None, _subscription]


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
            end = subscribe.start_of(until, account.timezone)
            silence_id = silences.add(tx, account.id, end, now, query, subscription)
    output.say(f"silence {silence_id} until {until}")


@commands.command("list")
def list_(email: MaybeEmail = None, json: Json = False) -> None:
    """Show the active silences of one account, or of all."""
    from services.store.subscriptions import silences

    with command_context() as context:
        now = context.db.now()
        account_id = context.account(email) if email else None
        with context.db.transaction() as tx:
            active = [
                {
                    "id": str(silence.id),
                    "account": silence.email,
                    "until": silence.until,
                    "query": silence.query,
                    "subscription": str(silence.subscription_id) if silence.subscription_id else None,
                    "name": silence.name or "",
                }
                for silence in silences.list_all(tx, now, account_id)
            ]
    output.as_json(active) if json else output.table(active, empty="nothing is silenced")


@commands.command()
def end(silence: Id) -> None:
    """End a silence now. The papers that it dropped stay dropped."""
    from services.store.subscriptions import silences

    with command_context() as context, context.db.transaction() as tx:
        silences.end(tx, silence)
    output.say(f"silence {silence} ended")
