"""`paperwire subscribe` and `subscription …`: what people ask for."""

from typing import Annotated, Any

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
)
from services.errors import ConfigError

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
    cadence: Cadence = None,
    to: To = None,
) -> None:
    """Add a subscription: a keyword query, an interest, or both."""
    from services.flow.commands import subscribe

    wishes = SubscriptionOptions(
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
        cadence=cadence,
        to=to,
    )
    with command_context() as context:
        account_id = context.account(email)
        with context.db.transaction() as tx:
            draft = wishes.draft(tx)  # before a channel is added for it
        channel_ids = wishes.channels(context, account_id, email)
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
    cadence: Cadence = None,
    to: To = None,
) -> None:
    """Change a subscription. Only the given options change; an empty text or 0 removes one."""
    from services.flow.commands import subscribe
    from services.store.subscriptions import subscriptions

    wishes = SubscriptionOptions(
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
        cadence=cadence,
        to=to,
    )
    if wishes == SubscriptionOptions():
        raise ConfigError("nothing to change; give one of the options of subscribe")
    with command_context() as context:
        with context.db.transaction() as tx:
            row = subscriptions.find(tx, subscription)
            before = subscribe.draft_of(row, *subscriptions.examples_of(tx, subscription))
            draft = wishes.draft(tx, before)
            kept = [channel for channel, _, _ in subscriptions.channels_of(tx, [subscription]).get(subscription, [])]
        channel_ids = wishes.channels(context, row["account_id"], row["email"]) if wishes.to else kept
        subscribe.save(context.db, context.embedder, row["account_id"], draft, channel_ids, subscription)
        _show_saved(context, subscription, json=json)


@commands.command("list")
def list_(email: MaybeEmail = None, json: Json = False) -> None:
    """Show the subscriptions of one account, or of all."""
    from services.flow.upkeep import model_rollover
    from services.store.subscriptions import subscriptions

    with command_context() as context:
        account_id = context.account(email) if email else None
        with context.db.transaction() as tx:
            ids = [row["id"] for row in subscriptions.all_of(tx, account_id)]
            found = [described(tx, one) for one in ids]
        if any(one["volume"] for one in found):
            for line in model_rollover.status_lines(context.db, context.settings):
                output.note(line)
    if json:
        output.as_json(found)
        return
    shown = ("id", "account", "name", "for", "query", "cadence", "paused_until", "error")
    output.table([{name: one[name] for name in shown} for one in found], empty="no subscriptions yet")


@commands.command()
def show(subscription: Id, json: Json = False) -> None:
    """Show one subscription with all its options."""
    with command_context() as context, context.db.transaction() as tx:
        found = described(tx, subscription)
    if json:
        output.as_json(found)
        return
    for name, value in found.items():
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
        secrets = SecretBox(context.settings_with_key().secret_key.get_secret_value())
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
        subscriptions.remove(tx, subscription, subscriptions.find(tx, subscription)["account_id"])
    output.say(f"subscription {subscription} deleted")


def described(tx: Any, subscription_id: int) -> dict[str, Any]:
    """A subscription in the words of the REST API."""
    from services.store.subscriptions import subscriptions

    row = subscriptions.find(tx, subscription_id)
    liked, disliked = ([str(one) for one in ids] for ids in subscriptions.examples_of(tx, subscription_id))
    interest = {"text": row["interest"], "liked": liked, "disliked": disliked} if row["interest"] or liked else None
    plain = ("query", "trending", "volume", "sources", "min_upvotes", "cadence", "estimated", "error", "created_at")
    channels = subscriptions.channels_of(tx, [subscription_id]).get(subscription_id, [])
    paused = row["paused_until"]
    return {
        "id": str(row["id"]),
        "account": row["email"],
        "name": row["name"],
        "for": row["for_whom"],
        "interest": interest,
        **{name: row[name] for name in plain},
        "channels": [str(channel) for channel, _, _ in sorted(channels)],
        "paused_until": paused,
    }


def _show_saved(context: CommandContext, subscription_id: int, *, json: bool) -> None:
    """The subscription with what it would have brought; the archive decides, not a promise."""
    from services.flow.commands.preview import preview
    from services.flow.commands.subscribe import draft_of
    from services.store.subscriptions import subscriptions

    with context.db.transaction() as tx:
        found = described(tx, subscription_id)
        row = subscriptions.find(tx, subscription_id)
        draft = draft_of(row, *subscriptions.examples_of(tx, subscription_id))
    with output.working("looking through the archive"):
        seen = preview(context.db, context.embedder, draft).as_json()
    if json:
        short = {name: seen[name] for name in ("days", "until", "papers_scanned", "matched", "per_week", "warnings")}
        output.as_json({**found, "preview": short})
        return
    output.say(f"subscription {subscription_id}: {found['name']}, {found['cadence']}")
    output.say(
        f"would have matched {seen['matched']} of the {seen['papers_scanned']} papers "
        f"of {seen['days']} days, {seen['per_week']} a week"
    )
    for warning in seen["warnings"]:
        output.say(f"warning: {warning}")
