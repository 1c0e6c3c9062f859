"""Circuit breakers: one for each transport that several channels share, such as the mail server or a Slack token.

An open circuit breaker stops all requests through its transport. A probe closes it when the transport works again.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, case, func, select, true, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.store.db.tables import transport

FIRST_PROBE_AFTER = timedelta(seconds=30)
MAX_PROBE_INTERVAL = timedelta(minutes=15)
EMBEDDER_PREFIX = "embedder:"
"""The keys of embedders begin with this. No channel has such a key, and the embed stage itself probes embedders."""


def open(
    tx: Connection,
    key: str,
    reason: str,
    now: datetime,
    scale: float,
    retry_after_seconds: float | None = None,
    opened_by: int | None = None,
) -> bool:
    """Stops all requests through a transport; returns whether this is the first failure since a message was sent.

    The next probe is due after `retry_after_seconds` where the server named that, else after 30 seconds, doubled with
    each failure up to 15 minutes. `opened_by`: the delivery that failed; None: a probe, which confirms the failure.
    """
    failures = tx.scalars(select(transport.c.failures).where(transport.c.key == key).with_for_update()).first() or 0
    pause = min(FIRST_PROBE_AFTER * (1 << min(failures, 8)), MAX_PROBE_INTERVAL) * scale
    if retry_after_seconds is not None:
        pause = timedelta(seconds=max(1.0, retry_after_seconds))
    values = {"down_because": reason, "check_at": now + pause, "failures": failures + 1, "opened_by": opened_by}
    tx.execute(
        upsert(transport)
        .values(key=key, opened_at=now, **values)
        .on_conflict_do_update(index_elements=["key"], set_=values | {"opened_at": _opened_at(now)})
    )
    return failures == 0


def count_failure(tx: Connection, key: str, reason: str) -> int:
    """Records a failure without a next probe; returns how many there were in a row."""
    failures = tx.scalars(
        upsert(transport)
        .values(key=key, down_because=reason, failures=1, opened_at=func.now())
        .on_conflict_do_update(
            index_elements=["key"],
            set_={
                "down_because": reason,
                "failures": transport.c.failures + 1,
                "opened_at": _opened_at(func.now()),
            },
        )
        .returning(transport.c.failures)
    ).one()
    return int(failures)


def _opened_at(now: Any) -> Any:
    """SQL: since when the circuit breaker is open that is opened now."""
    return case((transport.c.down_because != "", func.coalesce(transport.c.opened_at, now)), else_=now)


_CLOSED = {"down_because": "", "check_at": None, "opened_at": None, "opened_by": None}


def close(tx: Connection, key: str) -> None:
    """Lets requests through again, and forgets the failures."""
    tx.execute(update(transport).where(transport.c.key == key).values(failures=0, **_CLOSED))


def close_after_probe(tx: Connection, key: str) -> int | None:
    """Lets requests through again. The failures count until a message was sent.

    Returns the delivery that opened the circuit breaker, if no probe has confirmed its failure.
    """
    opened_by = tx.scalars(select(transport.c.opened_by).where(transport.c.key == key).with_for_update()).first()
    tx.execute(update(transport).where(transport.c.key == key).values(_CLOSED))
    return opened_by


def recovering(tx: Connection) -> frozenset[str]:
    """The transports that let requests through, but have not sent a message since their last failure."""
    return frozenset(
        tx.scalars(select(transport.c.key).where(transport.c.failures > 0, transport.c.down_because == ""))
    )


def forget_failures(tx: Connection, key: str) -> None:
    """To be called after a message was sent."""
    tx.execute(
        update(transport).where(transport.c.key == key, transport.c.down_because == "").values(failures=0)
    )  # fmt: skip


def probes_due(now: datetime) -> Any:
    """SQL: transports of channels that are due for a probe."""
    return and_(
        transport.c.down_because != "",
        transport.c.check_at <= now,
        ~transport.c.key.startswith(EMBEDDER_PREFIX),
    )


def count_open(tx: Connection, since: datetime | None = None) -> int:
    """How many transports of channels are down; with `since`, only those that were down then already."""
    is_old = transport.c.opened_at < since if since is not None else true()
    return tx.scalars(
        select(func.count()).where(
            transport.c.down_because != "",
            transport.c.check_at.is_not(None),  # A mailbox that is only read has no probe.
            ~transport.c.key.startswith(EMBEDDER_PREFIX),
            is_old,
        )
    ).one()


def claim_probe(tx: Connection, now: datetime, lease: timedelta) -> str | None:
    """The key of the transport that has been due for a probe longest; no other worker gets it during `lease`."""
    key = tx.scalars(
        select(transport.c.key)
        .where(probes_due(now))
        .order_by(transport.c.check_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()
    if key is not None:
        tx.execute(update(transport).where(transport.c.key == key).values(check_at=now + lease))
    return key


def is_open(tx: Connection, key: str) -> bool:
    return bool(tx.scalars(select(_is_open(key))).one())


def is_closed(key_column: Any) -> Any:
    """SQL: whether requests through the transport in a column may be made."""
    return ~_is_open(key_column)


def reason(tx: Connection, key: str) -> str:
    """Why a transport is down; empty when it is not."""
    return tx.scalars(select(transport.c.down_because).where(transport.c.key == key)).first() or ""


def _is_open(key: Any) -> Any:
    return select(transport.c.key).where(transport.c.key == key, transport.c.down_because != "").exists()
