"""`paperwire subscribe` and `subscription …`: adds, lists, changes, pauses and deletes subscriptions."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import output
from services.cli.context import CommandContext, Email, Id, Json, MaybeEmail, command_context
from services.cli.subscription_options import (
    Cadence,
    ForWhom,
    Interest,
    Like,
    MinUpvotes,
    Name,
    Query,
    Source,
    SubscriptionOptions,
    To,
    Trending,
    Unlike,
    Volume,
    Wide,
)
from services.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from services.store.subscriptions.records import SubscriptionWithEmail

commands = typer.Typer(help="Subscriptions: show, change, pause and delete them.", no_args_is_help=True)


def subscribe(
    email: Email,
    json: Json = False,
    name: Name = None,
    for_whom: ForWhom = None,
    query: Query = None,
    interest: Interest = None,
    like: Like = None,
    unlike: Unlike = None,
    trending: Trending = None,
    source: Source = None,
    min_upvotes: MinUpvotes = None,
    volume: Volume = None,
    wide: Wide = None,
    cadence: Cadence = None,
    to: To = None,
) -> None:
    """Add a subscription: a keyword query, an interest, or both."""
    from services.flow.commands import subscribe

    options = SubscriptionOptions(
        name=name,
        for_whom=for_whom,
        query=query,
        interest=interest,
        like=like,
        unlike=unlike,
        trending=trending,
        source=source,
        min_upvotes=min_upvotes,
        volume=volume,
        wide=wide,
        cadence=cadence,
        to=to,
    )
    with command_context() as context:
        account_id = context.account(email)
        with context.db.transaction() as tx:
            draft = options.draft(tx)  # Before channels are added, since an invalid draft must add none.
        channel_ids = options.channels(context, account_id, email)
        channel_ids = channel_ids or SubscriptionOptions(to=["email"]).channels(context, account_id, email)
        subscription_id = subscribe.save(context.db, context.embedder, account_id, draft, channel_ids)
        _show_saved(context, subscription_id, json=json)


@commands.command("set")
def set_(
    subscription: Id,
    json: Json = False,
    name: Name = None,
    for_whom: ForWhom = None,
    query: Query = None,
    interest: Interest = None,
    like: Like = None,
    unlike: Unlike = None,
    trending: Trending = None,
    source: Source = None,
    min_upvotes: MinUpvotes = None,
    volume: Volume = None,
    wide: Wide = None,
    cadence: Cadence = None,
    to: To = None,
) -> None:
    """Change a subscription. Only the given options change; an empty text or 0 removes one."""
    from services.flow.commands import subscribe
    from services.store.subscriptions import subscriptions

    options = SubscriptionOptions(
        name=name,
        for_whom=for_whom,
        query=query,
        interest=interest,
        like=like,
        unlike=unlike,
        trending=trending,
        source=source,
        min_upvotes=min_upvotes,
        volume=volume,
        wide=wide,
        cadence=cadence,
        to=to,
    )
    if options == SubscriptionOptions():
        raise ConfigError("nothing to change; give one of the options of subscribe")
    with command_context() as context:
        with context.db.transaction() as tx:
            row = subscriptions.find(tx, subscription)
            draft = options.draft(tx, subscriptions.draft_of(tx, row))
            channel_ids = [channel.id for channel in subscriptions.channels_of(tx, [row.id]).get(row.id, [])]
        if options.to:
            channel_ids = options.channels(context, row.account_id, row.email)
        subscribe.save(context.db, context.embedder, row.account_id, draft, channel_ids, subscription)
        _show_saved(context, subscription, json=json)


@commands.command("list")
def list_(email: MaybeEmail = None, json: Json = False) -> None:
    """Show the subscriptions of one account, or of all."""
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
    """Show one subscription with all its options."""
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
    until: Annotated[str, typer.Option(metavar="DATE", help="Pause until this day; a past day ends the pause.")] = "",
) -> None:
    """Pause a subscription until a day, or until you end the pause. Its matches wait."""
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
    new: Annotated[bool, typer.Option("--new", help="Create a new URL first; the old one stops working.")] = False,
) -> None:
    """Print the URL of its Atom feed. Everybody who has the URL can read the feed."""
    from services.store.db.secrets import SecretBox
    from services.store.subscriptions import atom_feeds, subscriptions

    with command_context() as context:
        secrets = SecretBox(context.settings_with_key().secret_keys)
        with context.db.transaction() as tx:
            if new:
                atom_feeds.change_address(tx, subscription)
            token = atom_feeds.token(secrets, subscriptions.find(tx, subscription))
        print(f"{context.base_url}/feeds/{token}")


@commands.command()
def delete(subscription: Id) -> None:
    """Delete a subscription. Papers that only it matched are no longer sent."""
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
        "volume": row.volume or row.best,
        "wide": row.wide,
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
        f"of {result['days']} days, "
        + (f"{result['per_week']} a week" if result["per_week"] is not None else "while the archive is being indexed")
    )
    for warning in result["warnings"]:
        output.say(f"warning: {warning}")
