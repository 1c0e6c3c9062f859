"""`paperwire deliveries`, `retry` and `audit`: what was sent, and what should have been."""

from typing import Annotated, Any

import typer

from services.cli import output
from services.cli.session import Id, Json, opened
from services.errors import ConfigError, Conflict


def deliveries(
    state: Annotated[str, typer.Option(help="Only those pending, sent, uncertain, dead …", show_default=False)] = "",
    json: Json = False,
) -> None:
    """Show what was sent and what waits, the newest first."""
    from services.domain.delivery import State
    from services.store import deliveries

    if state and state not in list(State):
        raise ConfigError(f"no state {state!r}; there are: {', '.join(State)}")
    with opened() as session, session.db.transaction() as tx:
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
    from services.domain.delivery import State, replay
    from services.store import deliveries
    from services.store.database import wake

    with opened() as session:
        now = session.db.now()
        with session.db.transaction() as tx:
            row = deliveries.lock_one(tx, delivery)
            state = State(row["state"])
            spent = state is State.UNCERTAIN and row["next_attempt_at"] is None
            if state is not State.DEAD and not spent:
                raise Conflict(f"delivery {delivery} is {state}; only a dead one, or a spent uncertain one, is retried")
            deliveries.set_state(tx, delivery, replay(deliveries.state_of(row), now))
            wake(tx, "deliver")
        output.say(f"delivery {delivery} is pending again")
        session.say_who_works()


def audit(json: Json = False) -> None:
    """Count what should have happened by now and has not; exit code 1 unless every figure that counts is zero."""
    from services.store.audit import audit

    with opened() as session:
        now = session.db.now()
        with session.db.transaction() as tx:
            found = audit(tx, now)
    if json:
        output.as_json({**found.figures(), "clean": found.clean})
    else:
        for name, count in found.figures().items():
            print(f"{count:>8}  {name.replace('_', ' ')}")
    if not found.clean:
        raise typer.Exit(1)
