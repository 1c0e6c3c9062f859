"""`paperwire channel …`: where an account is told."""

from typing import Annotated

import typer

from services.cli import output
from services.cli.session import Email, Id, Json, opened

commands = typer.Typer(help="Where people are told: mail, Slack …", no_args_is_help=True)


@commands.command()
def add(
    email: Email,
    kind: Annotated[str, typer.Argument(help="email, slack …", show_default=False)],
    target: Annotated[str, typer.Argument(help="An address, a Slack channel …", show_default=False)],
    at: Annotated[str, typer.Option(help="Hour of its digests, in the account's time zone.")] = "08:00",
    weekday: Annotated[str, typer.Option(help="Day of its weekly digests.")] = "mon",
) -> None:
    """Add a channel, or change the hours of the one with this target."""
    from services.flow import subscribe
    from services.store import channels

    hours = {"at": channels.parse_at(at), "weekday": channels.parse_weekday(weekday)}
    with opened() as session:
        account_id = session.account(email)
        word = f"{kind}:{target}"
        channel_id = subscribe.add_channel(session.db, session.keyed(), account_id, word, verified=True, **hours)
        with session.db.transaction() as tx:
            label = channels.find(tx, channel_id)["label"]
    output.say(f"channel {channel_id}: {kind} {label} of {email}, digests at {at}")


@commands.command("list")
def list_(json: Json = False) -> None:
    """Show every channel and what keeps it from being told."""
    from services.domain.cadence import WEEKDAYS
    from services.store import channels

    with opened() as session, session.db.transaction() as tx:
        rows = [
            {
                "id": str(row["id"]),
                "account": row["email"],
                "kind": row["kind"],
                "target": row["label"],
                "at": f"{row['at']:%H:%M}",
                "weekday": WEEKDAYS[row["weekday"]],
                "verified": row["verified"],
                "unsubscribed": row["unsubscribed_at"] is not None,
                "disabled_because": row["disabled_because"],
                "held_because": row["held_because"],
            }
            for row in channels.all_of(tx)
        ]
    output.as_json(rows) if json else output.table(rows, empty="no channels yet")


@commands.command()
def test(channel: Id) -> None:
    """Send a short test message."""
    from services.flow import by_hand

    with opened() as session:
        settings = session.settings.model_copy(update={"base_url": session.base_url})
        row = by_hand.send_test(session.db, settings, channel)
        output.say(f"delivery {row['delivery']}: test message to {row['label']}")
        session.say_who_works()


@commands.command()
def enable(channel: Id) -> None:
    """Let a channel go on: a disabled one with what has waited for it, an unsubscribed one with what comes."""
    from services.store import channels, consent

    with opened() as session:
        with session.db.transaction() as tx:
            channels.find(tx, channel)
            consent.subscribe_again(tx, channel)
            channels.enable(tx, channel)
        output.say(f"channel {channel} enabled")
        session.say_who_works()


@commands.command()
def remove(channel: Id) -> None:
    """Remove a channel; what waits for it is dropped."""
    from services.store import channels

    with opened() as session, session.db.transaction() as tx:
        channels.find(tx, channel)
        channels.remove(tx, channel)
    output.say(f"channel {channel} removed")
