"""Mail to an address whose owner has not agreed to any: it is counted, and limited for everybody together."""

from datetime import datetime

from sqlalchemy import Connection

from services.domain.delivery.opt_in import REQUESTS_COUNTED_FOR, may_request
from services.errors import Busy
from services.settings import settings
from services.store.db.database import lock
from services.store.delivery import opt_in


def may_mail_stranger(tx: Connection, address: str, ip: str, account_id: int | None, now: datetime) -> bool:
    """Whether an address whose owner has not agreed may get a mail that somebody asked for; counts the mail if so.

    `address` is in lower case. `account_id`: who asked; None: nobody who is signed in. Raises Busy when the account
    asked for too many, which tells nothing about other accounts.
    """
    lock(tx, "confirmation")
    earlier = opt_in.requests_since(tx, address, ip, account_id, now - REQUESTS_COUNTED_FOR)
    to_address = [request.created_at for request in earlier if request.address == address]
    from_ip = [request.created_at for request in earlier if ip and request.ip == ip]
    _check_limit(sum(request.account_id == account_id for request in earlier if account_id is not None))
    if opt_in.suppression_reason(tx, address) or not may_request(to_address, from_ip, now):
        return False
    opt_in.record_request(tx, address, ip, account_id, now)
    return True


def _check_limit(of_account: int) -> None:
    most = settings().confirmations_per_day
    if of_account >= most:
        raise Busy(f"an account has mails sent to at most {most} strangers a day, to confirm or invite; go on tomorrow")
