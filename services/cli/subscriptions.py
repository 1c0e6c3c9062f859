"""`paperwire subscribe` and `subscription …`: adds, lists, changes, pauses and deletes subscriptions."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import output
from services.cli.context import CommandContext, Email, Id, Json, MaybeEmail, command_context
from services.cli.subscription_options import SubscriptionOptions, with_subscription_options
from services.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from services.store.subscriptions.records import SubscriptionWithEmail

commands = typer.Typer(help="What people ask for.", no_args_is_help=True)


@with_subscription_options
def subscribe(email: Email, options: SubscriptionOptions, json: Json = False) -> None:
    """Add a subscription: a keyword query, an interest, or both."""
    from services.flow.commands import subscribe

    with command_context() as context:
        account_id = context.account(email)
        with context.db.transaction() as tx:
            draft = options.draft(tx)  # Before channels are added, since an invalid draft must add none.
        channels = options.channels(context, account_id, email)
        if not channels:
            channels = SubscriptionOptions(to=["email"]).channels(context, account_id, email)
        subscription_id = subscribe.save(context.db, context.embedder, account_id, draft, channels)
        _show_saved(context, subscription_id, json=json)


@with_subscription_options
def set_(subscription: Id, options: SubscriptionOptions, json: Json = False) -> None:
    """Change what is given; an empty text, or 0, removes a setting."""
    from services.flow.commands import subscribe
    from services.store.subscriptions import subscriptions

    if options == SubscriptionOptions():
        raise ConfigError("nothing to change; give one of the options of subscribe")
    with command_context() as context:
        with context.db.transaction() as tx:
            row = subscriptions.find(tx, subscription)
            draft = options.draft(tx, subscriptions.draft_of(tx, row))
            channels = [channel.id for channel in subscriptions.channels_of(tx, [subscription]).get(subscription, [])]
        if options.to:
            channels = options.channels(context, row.account_id, row.email)
        subscribe.save(context.db, context.embedder, row.account_id, draft, channels, subscription)
        _show_saved(context, subscription, json=json)


commands.command("set")(set_)


@commands.command("list")
def list_(email: MaybeEmail = None, json: Json = False) -> None:
    """Show the subscriptions, of one account or of all."""
    from services.flow.upkeep import model_rollover
    from services.store.subscriptions import subscriptions

    with command_context() as context:
        account_id = context.account(email) if email else None
        with context.db.transaction() as tx:
            listed = [_as_json(tx, row) for row in subscriptions.list_all(tx, account_id)]
        if any(subscription["volume"] for subscription in listed):
            for line in model_rollover.status_lines(context.db, context.settings):
                output.note(line)
    if json:
        output.as_json(listed)
        return
    columns = ("id", "account", "name", "for", "query", "cadence", "paused_until", "error")
    rows = [{name: subscription[name] for name in columns} for subscription in listed]
    output.table(rows, empty="no subscriptions yet")


@commands.command()
def show(subscription: Id, json: Json = False) -> None:
    """Show all of one subscription."""
    from services.store.subscriptions import subscriptions

    with command_context() as context, context.db.transaction() as tx:
        saved = _as_json(tx, subscriptions.find(tx, subscription))
    if json:
        output.as_json(saved)
        return
    for name, value in saved.items():
        if value not in (None, "", [], 0):
            output.say(f"{name.replace('_', ' ')}: {value}")


@commands.command()
def pause(
    subscription: Id,
    until: Annotated[str, typer.Option(metavar="DATE", help="A day that is over ends a pause.")] = "",
) -> None:
    """Keep back what it matches, until a day or until you say otherwise."""
    from services.flow.commands import subscribe

    with command_context() as context:
        end = subscribe.pause(context.db, subscription, until)
    if end is None:
        output.say(f"subscription {subscription} goes on")
    else:
        output.say(f"subscription {subscription} paused " + (f"until {until}" if until else "until further notice"))


@commands.command()
def feed(
    subscription: Id,
    new: Annotated[bool, typer.Option("--new", help="Give it another address first; the old one stops.")] = False,
) -> None:
    """Print the address of its Atom feed; whoever knows it can read it."""
    from services.store.db.secrets import SecretBox
    from services.store.subscriptions import atom_feeds, subscriptions

    with command_context() as context:
        secrets = SecretBox(context.settings_with_key().secret_key.get_secret_value())
        with context.db.transaction() as tx:
            if new:
                atom_feeds.change_address(tx, subscription)
            token = atom_feeds.token(secrets, subscriptions.find(tx, subscription))
        print(f"{context.base_url}/feeds/{token}")


@commands.command()
def delete(subscription: Id) -> None:
    """Delete a subscription; what only it asked for is not sent any more."""
    from services.store.subscriptions import subscriptions

    with command_context() as context, context.db.transaction() as tx:
        subscriptions.remove(tx, subscription, subscriptions.find(tx, subscription).account_id)
    output.say(f"subscription {subscription} deleted")


def _as_json(tx: "Connection", row: "SubscriptionWithEmail") -> dict[str, Any]:
    """The object of the REST API."""
    from services.store.subscriptions import subscriptions

    liked, disliked = subscriptions.examples_of(tx, row.id)
    interest = None
    if row.interest or liked:
        interest = {"text": row.interest, "liked": [*map(str, liked)], "disliked": [*map(str, disliked)]}
    channel_ids = sorted(channel.id for channel in subscriptions.channels_of(tx, [row.id]).get(row.id, []))
    return {
        "id": str(row.id),
        "account": row.email,
        "name": row.name,
        "for": row.for_whom,
        "interest": interest,
        "query": row.query,
        "trending": row.trending,
        "volume": row.volume,
        "sources": row.sources,
        "min_upvotes": row.min_upvotes,
        "cadence": row.cadence,
        "estimated": row.estimated,
        "error": row.error,
        "created_at": row.created_at,
        "channels": [str(channel_id) for channel_id in channel_ids],
        "paused_until": row.paused_until,
    }


def _show_saved(context: CommandContext, subscription_id: int, *, json: bool) -> None:
    """The saved subscription with a preview over the archive."""
    from services.flow.commands.preview import preview
    from services.store.subscriptions import subscriptions

    with context.db.transaction() as tx:
        row = subscriptions.find(tx, subscription_id)
        saved, draft = _as_json(tx, row), subscriptions.draft_of(tx, row)
    with output.working("looking through the archive"):
        result = preview(context.db, context.embedder, draft).as_json()
    if json:
        names = ("days", "until", "papers_scanned", "matched", "per_week", "warnings")
        output.as_json({**saved, "preview": {name: result[name] for name in names}})
        return
    output.say(f"subscription {subscription_id}: {row.name}, {row.cadence}")
    output.say(
        f"would have matched {result['matched']} of the {result['papers_scanned']} papers "
        f"of {result['days']} days, {result['per_week']} a week"
    )
    for warning in result["warnings"]:
        output.say(f"warning: {warning}")
