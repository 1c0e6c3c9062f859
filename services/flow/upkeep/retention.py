"""Retention: deletes old finished rows and files, at night and in small batches."""

from services import plugins
from services.domain.delivery import retention
from services.errors import LeaseLost
from services.ports import FileKeeping
from services.settings import Settings
from services.store.db import rate_limits
from services.store.db.database import Database
from services.store.maintenance import retention as retention_steps
from services.store.papers import merging
from services.telemetry import log

RATE_LIMIT_KEY = "clean-up"


def work(db: Database, settings: Settings) -> bool:
    """Deletes one batch of the first kind that has any; False if nothing is left for this night, or it is not due."""
    keep, now = retention.parse_days(settings.retention), db.now()
    keep_log = retention.parse_days(settings.change_log_retention)
    with db.transaction() as tx:
        if not rate_limits.is_available(tx, RATE_LIMIT_KEY, now):
            return False
    for step in retention_steps.STEPS:
        with db.transaction() as tx:
            merging.lock_against_merges(tx)
            count = step(tx, now, keep_log if step is retention_steps.delete_change_log else keep)
        if count:
            log.info("cleaned up", what=step.__name__, rows=count)
            return True
    for notifier in plugins.notifiers().values():
        if isinstance(notifier, FileKeeping) and (count := notifier.delete_files(now - keep)):
            log.info("cleaned up", what=f"{notifier.kind} files", files=count)
    return _wait_for_next_night(db)


def _wait_for_next_night(db: Database) -> bool:
    """Sets the next run to the next night."""
    now = db.now()
    try:
        with db.transaction() as tx:
            rate_limits.acquire(tx, RATE_LIMIT_KEY, retention.until_next_cleanup(now), now)
    except LeaseLost:
        pass  # Another worker has set it at the same moment.
    return False
