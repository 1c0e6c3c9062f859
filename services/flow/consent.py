"""Messages to an address whose owner has agreed to none: they are counted, and limited for everybody together."""

from datetime import datetime

from sqlalchemy import Connection

from services.domain.delivery.opt_in import REQUESTS_COUNTED_FOR, may_request
from services.errors import Busy
from services.settings import settings
from services.store.db.database import lock
from services.store.delivery import opt_in
from services.telemetry import log


def may_mail_stranger(tx: Connection, address: str, ip: str, account_id: int | None, now: datetime) -> bool:
    """Whether an address whose owner has not agreed may get a mail that somebody asked for; counts the mail if so.

    `address` is in lower case, or the label of a Slack conversation. `account_id`: who asked; None: nobody who is
    signed in. Raises Busy when the account, or all accounts together, asked for too many.
    """
    lock(tx, "confirmation")
    earlier = opt_in.requests_since(tx, address, ip, account_id, now - REQUESTS_COUNTED_FOR)
    to_address = [request.created_at for request in earlier if request.address == address]
    from_ip = [request.created_at for request in earlier if ip and request.ip == ip]
    _check_limit(sum(request.account_id == account_id for request in earlier if account_id is not None))
    if not _has_room(tx, account_id, now):
        return False
    if opt_in.suppression_reason(tx, address) or not may_request(to_address, from_ip, now):
        return False
    opt_in.record_request(tx, address, ip, account_id, now)
    return True


def _check_limit(of_account: int) -> None:
    most = settings().confirmations_per_day
    if of_account >= most:
        raise Busy(f"an account has mails sent to at most {most} strangers a day, to confirm or invite; go on tomorrow")


def _has_room(tx: Connection, account_id: int | None, now: datetime) -> bool:
    """Whether the limit of all accounts together allows one more; accounts get Busy instead of False."""
    most = settings().confirmations_per_day_in_all
    if opt_in.count_requests(tx, now - REQUESTS_COUNTED_FOR) < most:
        return True
    log.warning("no stranger is asked, PAPERWIRE_CONFIRMATIONS_PER_DAY_IN_ALL is reached", most=most)
    if account_id is not None:
        raise Busy(f"this installation asks at most {most} strangers a day, to confirm or invite; go on tomorrow")
    return False
