"""E-mail: one recipient a mail, sent by an SMTP server or written to the outbox folder."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from services.domain.digests.digest import LINK, Digest
from services.errors import TargetError
from services.notifiers.email import config, connection, files, smtp
from services.notifiers.email.bounces import dsn
from services.notifiers.email.bounces.dsn import MAX_BYTES as MAX_BOUNCE_BYTES
from services.notifiers.email.bounces.mailbox import opened
from services.notifiers.email.config import EmailSettings, email_settings
from services.notifiers.email.digest import confirm_parts, digest_parts, link_parts
from services.notifiers.email.files import OutboxMail, ReadMail, outbox, read_outbox
from services.notifiers.email.message import message
from services.ports import Bounce, Envelope, Mailbox, Outcome, Policy, TransportDown

__all__ = [
    "MAX_BOUNCE_BYTES",
    "EmailSettings",
    "EmailTarget",
    "OutboxMail",
    "ReadMail",
    "email_settings",
    "message",
    "outbox",
    "plugin",
    "read_outbox",
]


class EmailTarget(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    address: str

    @field_validator("address")
    @classmethod
    def _canonical(cls, text: str) -> str:
        return config.address(text).addr_spec


class Email:
    kind = "email"
    summary = "A mail with all papers, as HTML and as plain text"
    example = "ada@example.org"
    target: type[BaseModel] = EmailTarget
    lease = timedelta(minutes=15)

    def parse_target(self, text: str) -> EmailTarget:
        try:
            return EmailTarget(address=text)
        except ValueError:
            raise TargetError(f"{text[:100]!r} is not an e-mail address; it reads name@example.org") from None

    def label(self, target: BaseModel) -> str:
        return _address(target)

    def transport(self, target: BaseModel) -> str:
        return "smtp"

    def policy(self, public_fields: Mapping[str, Any], kind: str) -> Policy:
        return Policy()

    def render(self, digest: Digest, envelope: Envelope, target: BaseModel) -> bytes:
        parts = {"confirm": confirm_parts, LINK: link_parts}.get(digest.kind, digest_parts)
        return message(*parts(digest, envelope), to=_address(target), envelope=envelope)

    def preview(self, body: bytes) -> str:
        return files.as_html(body)

    def send(self, body: bytes, target: BaseModel, commit: Callable[[], None]) -> Outcome:
        server = config.server()
        if server is None:
            return files.write(body, commit)
        return smtp.deliver(body, config.sender(), config.address(_address(target)), server, commit)

    def reuse_connections(self) -> AbstractContextManager[None]:
        return connection.reuse_connections()

    def probe(self, target: BaseModel) -> TransportDown | None:
        server = config.server()
        return smtp.probe(server, config.sender()) if server else files.probe()

    def delete_files(self, before: datetime) -> int:
        return files.delete_files(before)

    def mailbox(self) -> AbstractContextManager[Mailbox] | None:
        box = config.bounce_box()
        return opened(box) if box else None

    def read_bounce(self, body: bytes) -> Bounce | None:
        return dsn.read_bounce(body)

    def read_unsubscribe(self, body: bytes) -> str:
        return dsn.read_unsubscribe(body)


def _address(target: BaseModel) -> str:
    assert isinstance(target, EmailTarget)
    return target.address


plugin = Email()
