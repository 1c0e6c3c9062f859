"""Follow up: a sent message whose papers stand otherwise now is updated in place; nobody gets a second one."""

from urllib.parse import urlsplit

from services.domain.delivery.state_machine import DISABLED_FOR
from services.domain.digests import updates as domain
from services.settings import Settings
from services.store.db.database import Database
from services.store.delivery import deliveries, message_updates
from services.store.papers import merging, papers


def work(db: Database, settings: Settings) -> bool:
    """Looks at one message whose papers changed; False when there is none."""
    with db.transaction() as tx:
        merging.lock_against_merges(tx)
        found = message_updates.claim(tx, db.now(tx))
        if found is None:
            return False
        row, channel = found
        now = domain.shown(papers.load(tx, deliveries.paper_ids(tx, row["id"])))
        if domain.worth_telling(row["snapshot"], now):
            host = urlsplit(settings.base_url).hostname or "localhost"
            rate_limit_key = f"update:{channel['transport']}"
            key = f"update:{row['id']}:{domain.key(now)}"
            deliveries.create(tx, channel, "update", key, host, about=row["id"], rate_limit_key=rate_limit_key)
    return True


def give_up(db: Database, settings: Settings) -> bool:
    """Drops what waits for one channel that nobody has enabled for a week; False when there is none."""
    with db.transaction() as tx:
        return message_updates.give_up(tx, db.now(tx), DISABLED_FOR * settings.time_scale)
