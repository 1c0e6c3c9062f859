"""Claiming: what a claim looks at does not grow with what waits."""

from sqlalchemy import text

from services.store.delivery import claims
from tests.support.world import Pipeline

WAITING = """
    INSERT INTO account (email) SELECT 'reader' || i || '@example.org' FROM generate_series(1, 3000) i;
    INSERT INTO channel (account_id, kind, label, target, transport, rate_limit_key, verified)
        SELECT id, 'email', email, jsonb_build_object('address', email), 'smtp', '', true FROM account
        WHERE email LIKE 'reader%';
    ANALYZE;
    INSERT INTO delivery (account_id, channel_id, kind, idem_key, message_id, next_attempt_at)
        SELECT account_id, id, 'message', id, '<' || id || '@example.org>', '2020-01-01' FROM channel
        WHERE label LIKE 'reader%'"""
READ = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables WHERE relname = 'delivery'"


def test_a_claim_looks_at_few_deliveries_however_many_wait_and_nobody_counted_them_yet(world: Pipeline) -> None:
    with world.db.transaction() as tx:
        for statement in WAITING.split(";"):
            tx.execute(text(statement))
    with world.db.transaction() as tx:
        assert len(claims.lock_due(tx, world.db.now(tx), 16)) == 16
        assert tx.scalars(text(READ)).one() < 1000
