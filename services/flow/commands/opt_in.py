"""Consent: nobody gets a mail but the question until they said yes, and nobody does after they said no."""

from urllib.parse import urlsplit

from sqlalchemy import Connection

from services import plugins
from services.errors import NotFound
from services.settings import Settings
from services.store.accounts import accounts, email_address
from services.store.db.database import Database, Row
from services.store.db.secrets import SecretBox
from services.store.delivery import channels, opt_in


def ask(db: Database, settings: Settings, channel_id: int, account_id: int | None = None, ip: str = "") -> bool:
    """Asks a channel that is not confirmed; False when nothing was sent: it is confirmed, or was asked too often.

    Whoever is not an operator must not learn which: it tells whether others asked the same address.
    """
    with db.transaction() as tx:
        return _ask(tx, settings, channels.find(tx, channel_id, account_id), ip, db)


def confirm(db: Database, secrets: SecretBox, token: str) -> Row:
    """What the button behind the mailed link does; the channel. Raises NotFound, Conflict."""
    with db.transaction() as tx:
        row = opt_in.by_confirm_token(tx, secrets, token, db.now())
        if row["deleted_at"] is None and not row["verified"]:
            _say_yes(tx, row)
        elif row["deleted_at"] and not row["verified"]:
            raise NotFound("this address is not asked for any more")
        return row


def enable(db: Database, settings: Settings, channel_id: int, account_id: int | None = None, ip: str = "") -> bool:
    """Lets a channel go on: a disabled one with what has waited, an unsubscribed one with what comes.

    False when it has to agree by mail first. Raises NotFound.
    """
    with db.transaction() as tx:
        row = channels.find(tx, channel_id, account_id)
        if row["kind"] == "email":
            opt_in.lift(tx, row["label"])
        channels.enable(tx, channel_id)
    return subscribe_again(db, settings, channel_id, account_id, ip)


def vouch(db: Database, channel_id: int) -> Row:
    """An operator's word that the owner of an address agreed."""
    with db.transaction() as tx:
        row = channels.find(tx, channel_id)
        opt_in.lift(tx, row["label"], refused=True)
        channels.enable(tx, channel_id)
        _say_yes(tx, row)
        return row


def unsubscribe(db: Database, secrets: SecretBox, token: str) -> Row:
    """What one click does, as often as it likes. Raises NotFound."""
    with db.transaction() as tx:
        row = opt_in.by_unsubscribe_token(tx, secrets, token)
        opt_in.unsubscribe(tx, row)
        return row


def subscribe_again(
    db: Database, settings: Settings, channel_id: int, account_id: int | None = None, ip: str = ""
) -> bool:
    """The account's own address and what is no mail at once; another address is asked first. Whether it is at once."""
    with db.transaction() as tx:
        row = channels.find(tx, channel_id, account_id)
        if row["unsubscribed_at"] is None:
            return True
        if row["verified"] and is_own(row, row["email"]):
            opt_in.subscribe_again(tx, channel_id)
            return True
        opt_in.doubt(tx, channel_id)
        _ask(tx, settings, {**row, "verified": False, "unsubscribed_at": None}, ip, db)
        return False


def change_address(db: Database, settings: Settings, account: Row, email: str, ip: str = "") -> bool:
    """Gives an account another address once that is confirmed; whether nothing is left to confirm.

    An operator's own is so at once, since operators may do anything, but mails to it wait all the same.
    Raises ConfigError, Conflict, TargetError.
    """
    email = accounts.normal_email(email)
    secrets = SecretBox(settings.secret_key.get_secret_value())
    with db.transaction() as tx:
        if email == account["email"]:
            accounts.change(tx, account["id"], new_email="")
            return True
        if account["operator"]:
            email_address.move(tx, account, email, verified=False)
            moved = email_address.own_channel(tx, {**account, "email": email})
        else:
            accounts.change(tx, account["id"], new_email=email)
            target = plugins.notifier("email").parse_target(email)
            moved = channels.add(tx, secrets, account["id"], "email", target, verified=False)
        if moved is not None:
            _ask(tx, settings, channels.find(tx, moved), ip, db)
        return moved is None


def is_own(row: Row, email: str) -> bool:
    """Whether a channel is no mail at all, or goes to the address that its account was made with."""
    return bool(row["kind"] != "email" or row["label"].lower() == email)


def _ask(tx: Connection, settings: Settings, row: Row, ip: str, db: Database) -> bool:
    host = urlsplit(settings.base_url).hostname or "localhost"
    open_question = not row["verified"] and not row["unsubscribed_at"]
    return bool(open_question) and opt_in.ask(tx, row, host, ip, db.now())


def _say_yes(tx: Connection, row: Row) -> None:
    opt_in.confirm(tx, row["id"])
    account = accounts.by_id(tx, row["account_id"])
    if account and account["new_email"] and is_own(row, account["new_email"]) and row["kind"] == "email":
        email_address.adopt(tx, account, row["id"])
