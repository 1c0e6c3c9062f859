"""Mail to an address whose owner has not agreed to any: it is counted, and limited for everybody together."""

from datetime import datetime

from sqlalchemy import Connection

from services.domain.delivery.opt_in import REQUESTS_COUNTED_FOR, may_request
from services.store.db.database import lock
from services.store.delivery import opt_in


def may_mail_stranger(tx: Connection, address: str, ip: str, account_id: int | None, now: datetime) -> bool:
    """Whether an address whose owner has not agreed may get a mail that somebody asked for; counts the mail if so.

    `address` is in lower case. `account_id`: who asked; None: nobody who is signed in.
    """
    lock(tx, "confirmation")
    earlier = opt_in.requests_since(tx, address, ip, account_id, now - REQUESTS_COUNTED_FOR)
    to_address = [request.created_at for request in earlier if request.address == address]
    from_ip = [request.created_at for request in earlier if ip and request.ip == ip]
    of_account = [request.created_at for request in earlier if account_id and request.account_id == account_id]
    if opt_in.suppression_reason(tx, address) or not may_request(to_address, from_ip, of_account, now):
        return False
    opt_in.record_request(tx, address, ip, account_id, now)
    return True
