"""The commands `deliveries`, `retry`, `bounces` and `audit`."""

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import output
from services.cli.context import Id, Json, command_context
from services.errors import ConfigError

if TYPE_CHECKING:
    from services.store.delivery.records import DeliverySummary


def deliveries(
    state: Annotated[str, typer.Option(help="Only those pending, sent, uncertain, dead …", show_default=False)] = "",
    json: Json = False,
) -> None:
    """List deliveries, sent and waiting, the newest first."""
    from services.domain.delivery.state_machine import State
    from services.store.delivery import deliveries

    if state and state not in list(State):
        raise ConfigError(f"no state {state!r}; there are: {', '.join(State)}")
    with command_context() as context, context.db.transaction() as tx:
        listed = deliveries.list_all(tx, state=State(state) if state else None)
    if json:
        output.as_json([delivery_json(delivery) for delivery in listed])
        return
    columns = ("id", "email", "channel_kind", "label", "kind", "state", "sent_at", "error")
    rows = [
        {**{name: getattr(delivery, name) for name in columns}, "papers": len(delivery.papers)} for delivery in listed
    ]
    output.table(rows, empty="no deliveries yet")


def delivery_json(delivery: "DeliverySummary") -> dict[str, Any]:
    columns = ("state", "kind", "sent_at", "created_at", "next_attempt_at", "attempt", "error", "receipt", "subject")
    return {
        "id": str(delivery.id),
        "account": delivery.email,
        "channel": str(delivery.channel_id),
        "channel_kind": delivery.channel_kind,
        "target": delivery.label,
        **{name: getattr(delivery, name) for name in columns},
        "papers": [str(paper_id) for paper_id in delivery.papers],
    }


def retry(delivery: Id) -> None:
    """Send a dead delivery again, or one that may not have arrived."""
    from services.flow.commands import resend

    with command_context() as context:
        resend.retry(context.db, delivery)
        output.say(f"delivery {delivery} is pending again")
        context.warn_if_no_worker_runs()


def bounces(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Read these saved mails instead; `-` reads one from stdin."),
    ] = None,
) -> None:
    """Read bounced mails from PAPERWIRE_BOUNCE_URL. Channels whose address does not exist are disabled."""
    from services.flow.upkeep import bounces
    from services.store.db.secrets import SecretBox

    bodies = [_bytes(path) for path in files or ()]
    with command_context() as context:
        settings = context.settings_with_key()
        secrets = SecretBox(settings.secret_keys)
        if bodies:
            outcomes = Counter(bounces.handle_mail(context.db, settings, secrets, body) for body in bodies)
        else:
            outcomes = bounces.read_mailbox(context.db, settings, secrets)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    output.say(f"{outcomes.total()} mail{'s' * (outcomes.total() != 1)} read" + (f": {counts}" if counts else ""))


def _bytes(path: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None


def audit(json: Json = False) -> None:
    """Count overdue work. The exit code is 1 if there is any."""
    from services.store.maintenance.audit import audit

    with command_context() as context:
        now = context.db.now()
        with context.db.transaction() as tx:
            figures = audit(tx, now)
    if json:
        output.as_json({**figures.figures(), "clean": figures.clean})
    else:
        for name, count in figures.figures().items():
            print(f"{count:>8}  {name.replace('_', ' ')}")
    if not figures.clean:
        raise typer.Exit(1)
