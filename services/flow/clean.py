"""Clean: what is finished and old goes, in the night and a little at a time."""

from services import plugins
from services.domain import retention
from services.errors import LeaseLost
from services.ports import Keeping
from services.settings import Settings
from services.store import cleaning, merging, pace
from services.store.database import Database
from services.telemetry import log

GATE = "clean-up"


def work(db: Database, settings: Settings) -> bool:
    """Deletes one batch of the first kind that has any; False when the night's work is done, or is not due."""
    keep, now = retention.days(settings.retention), db.now()
    with db.transaction() as tx:
        if not pace.passes(tx, GATE, now):
            return False
    for step in cleaning.STEPS:
        with db.transaction() as tx:
            merging.hold_off(tx)
            count = step(tx, now, keep)
        if count:
            log.info("cleaned up", what=step.__name__, rows=count)
            return True
    for notifier in plugins.notifiers().values():
        if isinstance(notifier, Keeping) and (count := notifier.forget(now - keep)):
            log.info("cleaned up", what=f"{notifier.kind} files", files=count)
    return _rest(db)


def _rest(db: Database) -> bool:
    """Closes the gate until the next night."""
    now = db.now()
    try:
        with db.transaction() as tx:
            pace.take(tx, GATE, retention.until_next_night(now), now)
    except LeaseLost:
        pass  # Another worker was as quick.
    return False
