"""`paperwire channel …`: where an account is told."""

from typing import Annotated, Any

import typer

from services.cli import output
from services.cli.context import Email, Id, Json, command_context

commands = typer.Typer(help="Where people are told: mail, Slack …", no_args_is_help=True)


@commands.command()
def add(
    email: Email,
    kind: Annotated[str, typer.Argument(help="email, slack, slack-webhook, webhook.", show_default=False)],
    target: Annotated[str, typer.Argument(help="An address, a Slack channel …", show_default=False)],
    at: Annotated[str, typer.Option(help="Hour of its digests, in the account's time zone.")] = "08:00",
    weekday: Annotated[str, typer.Option(help="Day of its weekly digests.")] = "mon",
    confirmed: Annotated[bool, typer.Option("--confirmed", help="The address's owner agreed: ask nobody.")] = False,
    at_most_once: Annotated[
        bool | None,
        typer.Option("--never-twice/--rather-twice", help="Where it is unknown whether a message arrived: let it be."),
    ] = None,
) -> None:
    """Add a channel, or change the hours of the one with this target. Another's mail address is asked first."""
    from services.flow.commands import opt_in, subscribe
    from services.store.delivery import channels

    hours: dict[str, Any] = {"at": channels.parse_at(at), "weekday": channels.parse_weekday(weekday)}
    with command_context() as context:
        account_id = context.account(email)
        word = f"{kind}:{target}"
        channel_id, secret = subscribe.open_channel(context.db, context.settings_with_key(), account_id, word, **hours)
        if confirmed:
            opt_in.vouch(context.db, channel_id)
        with context.db.transaction() as tx:
            if at_most_once is not None:
                channels.prefer_once(tx, channel_id, at_most_once)
            label = channels.find(tx, channel_id)["label"]
        output.say(f"channel {channel_id}: {kind} {label} of {email}, digests at {at}")
        _show(secret)
        context.request_opt_in(channel_id)


def _show(secret: str) -> None:
    if secret:
        output.say(f"signing secret, shown this once: {secret}")


@commands.command()
def rotate(channel: Id) -> None:
    """Give a webhook a new signing secret; the old one signs beside it for a day."""
    from services.flow.commands import subscribe

    with command_context() as context:
        _show(subscribe.rotate_secret(context.db, context.settings_with_key(), channel))


@commands.command("list")
def list_(json: Json = False) -> None:
    """Show every channel and what keeps it from being told."""
    from services.domain.delivery.schedule import WEEKDAYS
    from services.store.delivery import channels

    with command_context() as context, context.db.transaction() as tx:
        rows = [
            {
                "id": str(row["id"]),
                "account": row["email"],
                "kind": row["kind"],
                "target": row["label"],
                "at": f"{row['at']:%H:%M}",
                "weekday": WEEKDAYS[row["weekday"]],
                "at_most_once": row["at_most_once"],
                "verified": row["verified"],
                "unsubscribed": row["unsubscribed_at"] is not None,
                "disabled_because": row["disabled_because"],
                "down_because": row["down_because"],
            }
            for row in channels.all_of(tx)
        ]
    output.as_json(rows) if json else output.table(rows, empty="no channels yet")


@commands.command()
def test(channel: Id) -> None:
    """Send a short test message."""
    from services.flow.commands import resend

    with command_context() as context:
        row = resend.send_test(context.db, context.settings_with_base_url(), channel)
        output.say(f"delivery {row['delivery']}: test message to {row['label']}")
        context.warn_if_no_worker_runs()


@commands.command()
def enable(channel: Id) -> None:
    """Let a channel go on: a disabled one with what has waited for it, an unsubscribed one with what comes."""
    from services.flow.commands import opt_in

    with command_context() as context:
        at_once = opt_in.enable(context.db, context.settings_with_base_url(), channel)
        output.say(f"channel {channel} enabled" + ("" if at_once else ", once its owner agrees by mail"))
        context.warn_if_no_worker_runs()


@commands.command()
def ask(channel: Id) -> None:
    """Ask a mail address that is not confirmed whether it wants mails, once more."""
    from services.errors import Conflict
    from services.store.delivery import channels

    with command_context() as context:
        with context.db.transaction() as tx:
            if channels.find(tx, channel)["verified"]:
                raise Conflict(f"channel {channel} is confirmed already")
        context.request_opt_in(channel)


@commands.command()
def confirm(channel: Id) -> None:
    """Say on an address's behalf that its owner agreed to get mails."""
    from services.flow.commands import opt_in

    with command_context() as context:
        row = opt_in.vouch(context.db, channel)
    output.say(f"channel {channel}: {row['label']} is confirmed, by your word")


@commands.command()
def remove(channel: Id) -> None:
    """Remove a channel; what waits for it is dropped."""
    from services.store.delivery import channels

    with command_context() as context, context.db.transaction() as tx:
        channels.find(tx, channel)
        channels.remove(tx, channel)
    output.say(f"channel {channel} removed")
