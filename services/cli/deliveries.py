"""`paperwire deliveries`, `retry` and `audit`: what was sent, and what should have been."""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli import output
from services.cli.context import Id, Json, command_context
from services.errors import ConfigError


def deliveries(
    state: Annotated[str, typer.Option(help="Only those pending, sent, uncertain, dead …", show_default=False)] = "",
    json: Json = False,
) -> None:
    """Show what was sent and what waits, the newest first."""
    from services.domain.delivery.state_machine import State
    from services.store.delivery import deliveries

    if state and state not in list(State):
        raise ConfigError(f"no state {state!r}; there are: {', '.join(State)}")
    with command_context() as context, context.db.transaction() as tx:
        rows = deliveries.all_of(tx, state=state or None)
    if json:
        output.as_json([delivery_json(row) for row in rows])
        return
    shown = ("id", "email", "channel_kind", "label", "kind", "state", "sent_at", "error")
    papers = [{**{name: row[name] for name in shown}, "papers": len(row["papers"])} for row in rows]
    output.table(papers, empty="no deliveries yet")


def delivery_json(row: dict[str, Any]) -> dict[str, Any]:
    kept = ("state", "kind", "sent_at", "created_at", "next_attempt_at", "attempt", "error", "receipt", "subject")
    return {
        "id": str(row["id"]),
        "account": row["email"],
        "channel": str(row["channel_id"]),
        "channel_kind": row["channel_kind"],
        "target": row["label"],
        **{name: row[name] for name in kept},
        "papers": [str(paper) for paper in row["papers"]],
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
        list[Path] | None, typer.Argument(metavar="[FILE]…", help="Saved mails instead; - reads one from stdin.")
    ] = None,
) -> None:
    """Read the mails that came back, from PAPERWIRE_BOUNCE_URL; addresses that do not exist are mailed no more."""
    from services.flow.upkeep import bounces
    from services.store.db.secrets import SecretBox

    bodies = [_bytes(path) for path in files or ()]
    with command_context() as context:
        settings = context.settings_with_key()
        secrets = SecretBox(settings.secret_key.get_secret_value())
        if bodies:
            found = Counter(bounces.take(context.db, settings, secrets, body) for body in bodies)
        else:
            found = bounces.read_mailbox(context.db, settings, secrets)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in found.most_common())
    output.say(f"{found.total()} mail{'s' * (found.total() != 1)} read" + (f": {counts}" if counts else ""))


def _bytes(path: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None


def audit(json: Json = False) -> None:
    """Count what should have happened by now and has not; exit code 1 unless every figure that counts is zero."""
    from services.store.maintenance.audit import audit

    with command_context() as context:
        now = context.db.now()
        with context.db.transaction() as tx:
            found = audit(tx, now)
    if json:
        output.as_json({**found.figures(), "clean": found.clean})
    else:
        for name, count in found.figures().items():
            print(f"{count:>8}  {name.replace('_', ' ')}")
    if not found.clean:
        raise typer.Exit(1)
