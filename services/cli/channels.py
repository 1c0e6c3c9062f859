"""`paperwire channel …`: where an account is told."""

import secrets
from typing import Annotated
from urllib.parse import urlsplit

import typer

from services.cli import output
from services.cli.session import Email, Id, Json, opened
from services.errors import Conflict

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
                "disabled_because": row["disabled_because"],
                "held_because": row["held_because"],
            }
            for row in channels.all_of(tx)
        ]
    output.as_json(rows) if json else output.table(rows, empty="no channels yet")


@commands.command()
def test(channel: Id) -> None:
    """Send a short test message."""
    from services.store import channels, deliveries
    from services.store.database import wake

    with opened() as session:
        host = urlsplit(session.base_url).hostname or "localhost"
        with session.db.transaction() as tx:
            row = channels.find(tx, channel)
            if row["disabled_because"]:
                raise Conflict(f"channel {channel} is disabled: {row['disabled_because']}; enable it first")
            made = deliveries.create(tx, row, "test", f"test:{channel}:{secrets.token_hex(8)}", host)
            wake(tx, "deliver")
        output.say(f"delivery {made}: test message to {row['label']}")
        session.say_who_works()


@commands.command()
def enable(channel: Id) -> None:
    """Let a disabled channel go on, with what has waited for it."""
    from services.store import channels

    with opened() as session:
        with session.db.transaction() as tx:
            channels.find(tx, channel)
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
