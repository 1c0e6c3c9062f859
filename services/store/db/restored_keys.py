"""Gives a restored database new keys and ids, so that cookies and links of the lost database open nothing in it."""

from sqlalchemy import Connection, text

SKIPPED_IDS = 1_000_000
"""More rows than one table got between the backup and the loss. Their ids stand in cookies, links and sent messages."""
_STATEMENTS = (
    "UPDATE public.session SET ended_at = coalesce(ended_at, now())",
    "UPDATE public.subscription SET feed_key = gen_random_uuid()",
    "UPDATE public.signin_link SET used_at = coalesce(used_at, now())",
    "SELECT setval(format('%I.%I', schemaname, sequencename)::regclass,"
    f" coalesce(last_value, 0) + {SKIPPED_IDS}) FROM pg_sequences"
    # The other sequences number tables of a few fixed rows.
    " WHERE schemaname = 'public' AND data_type = 'bigint'::regtype",
)


def renew(tx: Connection) -> None:
    """Ends all sessions and sign-in links, changes the address of every Atom feed, and skips ids in every table."""
    for statement in _STATEMENTS:
        tx.execute(text(statement))


def renew_script() -> str:
    """`renew` as SQL, which pg_restore's caller runs in the transaction that restores."""
    return "; ".join(_STATEMENTS)
