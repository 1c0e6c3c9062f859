"""`paperwire channel …`: the channels that papers are sent to."""

from typing import Annotated

import typer

from services.cli import output, secret_argument
from services.cli.context import Email, Id, Json, command_context
from services.domain.delivery.schedule import DEFAULT_TIME
from services.errors import ConfigError

commands = typer.Typer(help="Where papers are sent: mail, Slack, webhooks.", no_args_is_help=True)


@commands.command()
def add(
    email: Email,
    kind: Annotated[str, typer.Argument(help="email, slack, slack-webhook, webhook.", show_default=False)],
    target: Annotated[
        str,
        typer.Argument(help="An address, a Slack channel …; or -, @FILE, env:NAME to read it.", show_default=False),
    ],
    at: Annotated[str, typer.Option(help="Time of its digests, in the account's time zone.")] = DEFAULT_TIME,
    weekday: Annotated[str, typer.Option(help="Day of its weekly digests.")] = "mon",
    confirmed: Annotated[
        bool, typer.Option("--confirmed", help="The owner agreed: send no request to confirm.")
    ] = False,
    at_most_once: Annotated[
        bool | None,
        typer.Option("--never-twice/--rather-twice", help="Whether a message that may have arrived is not repeated."),
    ] = None,
) -> None:
    """Add a channel, or change the hours of a channel. Another e-mail address, or a person in Slack, is asked first."""
    from services.domain.delivery.schedule import ChannelHours, parse_time, parse_weekday
    from services.flow.commands import channels as channel_commands
    from services.flow.commands import opt_in
    from services.store.db.secrets import SecretBox
    from services.store.delivery import channels

    hours = ChannelHours(parse_time(at), parse_weekday(weekday))
    target = secret_argument.resolve(target)
    with command_context() as context:
        settings = context.settings_with_key()
        account_id = context.account(email)
        added = channel_commands.add(
            context.db, settings, account_id, f"{kind}:{target}", hours=hours, by_operator=True
        )
        if confirmed:
            opt_in.confirm_by_operator(context.db, SecretBox(settings.secret_keys), added.id)
        if at_most_once is not None:
            channel_commands.set_at_most_once(context.db, added.id, at_most_once)
        with context.db.transaction() as tx:
            label = channels.find(tx, added.id).label
        output.say(f"channel {added.id}: {kind} {label} of {email}, digests at {at}")
        _print_secret(added.secret)
        context.request_opt_in(added.id)


def _print_secret(secret: str) -> None:
    if secret:
        output.say(f"signing secret, shown this once: {secret}")


@commands.command()
def rotate(channel: Id) -> None:
    """Give a webhook a new signing secret; the old one also signs for a day."""
    from services.flow.commands import channels

    with command_context() as context:
        _print_secret(channels.rotate_secret(context.db, context.settings_with_key(), channel))


@commands.command("list")
def list_(json: Json = False) -> None:
    """Show every channel and what keeps messages from it."""
    from services.domain.delivery.schedule import WEEKDAYS
    from services.store.delivery import channels

    with command_context() as context, context.db.transaction() as tx:
        rows = [
            {
                "id": str(channel.id),
                "account": channel.email,
                "kind": channel.kind,
                "target": channel.label,
                "at": f"{channel.at:%H:%M}",
                "weekday": WEEKDAYS[channel.weekday],
                "at_most_once": channel.at_most_once,
                "verified": channel.verified,
                "unsubscribed": channel.unsubscribed_at is not None,
                "disabled_because": channel.disabled_because,
                "down_because": channel.down_because,
            }
            for channel in channels.all_of(tx)
        ]
    output.as_json(rows) if json else output.table(rows, empty="no channels yet")


@commands.command()
def test(channel: Id) -> None:
    """Send a short test message."""
    from services.flow.commands import resend

    with command_context() as context:
        sent = resend.send_test(context.db, context.settings_with_base_url(), channel)
        output.say(f"delivery {sent.delivery_id}: test message to {sent.label}")
        context.warn_if_no_worker_runs()


@commands.command()
def enable(channel: Id) -> None:
    """Enable a disabled channel, with what has waited for it, or subscribe an unsubscribed one again."""
    from services.flow.commands import opt_in

    with command_context() as context:
        at_once = opt_in.enable(context.db, context.settings_with_base_url(), channel)
        output.say(f"channel {channel} enabled" + ("" if at_once else ", once somebody there agrees"))
        context.warn_if_no_worker_runs()


@commands.command()
def ask(channel: Id) -> None:
    """Ask once more in an address or a Slack conversation that is not confirmed."""
    from services.errors import Conflict
    from services.store.delivery import channels

    with command_context() as context:
        with context.db.transaction() as tx:
            if channels.find(tx, channel).verified:
                raise Conflict(f"channel {channel} is confirmed already")
        context.request_opt_in(channel)


@commands.command()
def confirm(channel: Id) -> None:
    """Confirm a channel whose owner told you that he agrees."""
    from services.flow.commands import opt_in
    from services.store.db.secrets import SecretBox

    with command_context() as context:
        secrets = SecretBox(context.settings_with_key().secret_keys)
        confirmed = opt_in.confirm_by_operator(context.db, secrets, channel)
    output.say(f"channel {channel}: {confirmed.label} is confirmed, by your word")


@commands.command("renew-encryption")
def renew_encryption() -> None:
    """Encrypt the secrets of all channels with the present PAPERWIRE_SECRET_KEY."""
    from services.flow.commands.renew_encryption import renew_encryption
    from services.store.db.secrets import SecretBox

    with command_context() as context:
        renewed = renew_encryption(context.db, SecretBox(context.settings_with_key().secret_keys))
    count = f"{renewed.encrypted_again} channel{'s' * (renewed.encrypted_again != 1)} encrypted again"
    if renewed.unreadable:
        listed = ", ".join(map(str, renewed.unreadable[:20]))
        raise ConfigError(
            f"{count}; none of the keys decrypts the secrets of {len(renewed.unreadable)} more: {listed}; name their "
            "key in PAPERWIRE_SECRET_KEYS_OLD, or add these channels again"
        )
    output.say(count)


@commands.command()
def remove(channel: Id) -> None:
    """Remove a channel and drop what waits for it."""
    from services.store.delivery import channels, ended_channels

    with command_context() as context, context.db.transaction() as tx:
        channels.find(tx, channel)
        ended_channels.remove(tx, channel)
    output.say(f"channel {channel} removed")
