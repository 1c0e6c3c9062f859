"""Revisions: each shard numbers the changes of its subscriptions, so that a worker reads only new ones."""

from sqlalchemy import Connection, update

from services.store.db.tables import shard


def next_revision(tx: Connection, shard_id: int) -> int:
    """The shard's next revision. The row lock makes revisions visible in order, which a sequence does not."""
    return int(
        tx.scalars(
            update(shard)
            .where(shard.c.id == shard_id)
            .values(revision=shard.c.revision + 1)
            .returning(shard.c.revision)
        ).one()
    )
