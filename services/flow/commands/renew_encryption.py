"""Encrypts stored secrets again after PAPERWIRE_SECRET_KEY was replaced, so that the old key can be dropped."""

from dataclasses import dataclass

from services.errors import ConfigError
from services.store.db.database import Database
from services.store.db.secrets import SecretBox
from services.store.delivery import channels

BATCH_SIZE = 200
"""Channels that one transaction locks."""


@dataclass(frozen=True, slots=True)
class Renewed:
    encrypted_again: int
    unreadable: list[int]
    """Channels whose secrets none of the known keys decrypts."""


def renew_encryption(db: Database, secrets: SecretBox) -> Renewed:
    """Encrypts with the current key what an old key encrypted. It may be interrupted and run again."""
    count, unreadable, last_id = 0, list[int](), 0
    while True:
        with db.transaction() as tx:
            batch = channels.with_secrets(tx, after=last_id, limit=BATCH_SIZE)
            for channel_id, encrypted in batch:
                if secrets.is_current(encrypted):
                    continue
                try:
                    channels.set_secret(tx, channel_id, secrets.encrypt(secrets.decrypt(encrypted)))
                    count += 1
                except ConfigError:
                    unreadable.append(channel_id)
        if not batch:
            return Renewed(count, unreadable)
        last_id = batch[-1][0]
