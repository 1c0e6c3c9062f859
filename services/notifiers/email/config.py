"""The settings of mail: the server, the sender and the mailbox of returned mails."""

import re
from email.errors import MessageError
from email.headerregistry import Address
from functools import cache, lru_cache
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import SecretStr, field_validator

from services.domain.http.hostname import ascii_host
from services.notifiers.email.bounces.mailbox import Box, parse_bounce_url
from services.render import line
from services.settings import Configured, load, settings

# RFC 5321 section 4.1.2: a quoted local part may contain blanks and `@`.
_QUOTED_LOCAL = re.compile(r'"(?:[^"\\]|\\.)*"')


class Server(NamedTuple):
    """An SMTP server. `tls` is `implicit` (smtps), `starttls` (required), `none`, or empty: STARTTLS if offered."""

    host: str
    port: int
    user: str
    password: SecretStr
    tls: str
    timeout: float
    connections: int = 4
    """At most so many connections of one worker at once."""


class EmailSettings(Configured):
    smtp_url: SecretStr = SecretStr("")
    mail_from: str = ""
    bounce_url: SecretStr = SecretStr("")
    bounce_secret: SecretStr = SecretStr("")

    @field_validator("smtp_url")
    @classmethod
    def _readable_url(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value():
            parse_smtp_url(url.get_secret_value())
        return url

    @field_validator("bounce_url")
    @classmethod
    def _readable_mailbox(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value():
            parse_bounce_url(url.get_secret_value())
        return url

    @field_validator("mail_from")
    @classmethod
    def _one_address(cls, sender: str) -> str:
        if sender:
            parse_sender(sender)
        return sender


@cache
def email_settings() -> EmailSettings:
    return load(EmailSettings)


# Cached, since the settings are read for every mail, its sender and its recipient.
@lru_cache(16)
def parse_smtp_url(url: str) -> Server:
    """Reads `smtp://user:pass@host:587?tls=starttls&timeout=30&connections=4` or `smtps://…`.

    Raises ValueError, without the URL.
    """
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or set(options) - {"tls", "timeout", "connections"}:
        raise ValueError("must read smtp://user:password@host:587?tls=starttls or smtps://user:password@host:465")
    tls = "implicit" if parts.scheme == "smtps" else options.get("tls", [""])[0]
    if tls not in ("implicit", "starttls", "none", ""):
        raise ValueError("tls is starttls or none; for implicit TLS write smtps://")
    try:
        timeout = float(options.get("timeout", ["30"])[0])
        connections = int(options.get("connections", ["4"])[0])
        host = ascii_host(parts.hostname)
        port = parts.port or (465 if tls == "implicit" else 587 if parts.username else 25)
    except ValueError:
        raise ValueError("its port, timeout and connections must be numbers, and its host the name of a host") from None
    if not 1 <= timeout <= 600:
        raise ValueError("its timeout must lie between 1 and 600 seconds")
    if not 1 <= connections <= 32:
        raise ValueError("its connections (of each worker) must lie between 1 and 32")
    password = SecretStr(unquote(parts.password or ""))
    return Server(host, port, unquote(parts.username or ""), password, tls, timeout, connections)


@lru_cache(16)
def parse_sender(text: str) -> Address:
    """Reads `Name <address>` or an address. Raises ValueError."""
    name, bracket, rest = text.rpartition("<")
    return address(rest.removesuffix(">") if bracket else text, line(name.strip(' "')))


@lru_cache(4096)
def address(text: str, name: str = "") -> Address:
    """An address with its domain in lower case and IDNA. Raises ValueError."""
    local, _, domain = text.strip().rpartition("@")
    try:
        domain = ascii_host(domain)
        # RFC 5321 section 4.1.3 permits an address of a machine in place of a domain. Nobody is reached by one.
        if domain.startswith("[") or domain.rpartition(".")[2].isdigit():
            raise ValueError
        bare = _QUOTED_LOCAL.sub("", local)
        if not (local and domain and len(text) <= 254 and text.strip().isprintable()) or " " in bare + domain:
            raise ValueError
        # `Address` accepts a local part beyond ASCII only as `username`, and checks the syntax only of `addr_spec`.
        if local.isascii():
            return Address(name, addr_spec=f"{local}@{domain}")
        return Address(name, username=local, domain=domain)
    except (ValueError, IndexError, MessageError):
        raise ValueError("is not an e-mail address; it reads name@example.org") from None


def server() -> Server | None:
    """None: no server is configured, and mails are written to files."""
    url = email_settings().smtp_url.get_secret_value()
    return parse_smtp_url(url) if url else None


def bounce_box() -> Box | None:
    """None: no mailbox is configured."""
    url = email_settings().bounce_url.get_secret_value()
    return parse_bounce_url(url) if url else None


def sender() -> Address:
    """PAPERWIRE_MAIL_FROM, else `paperwire@` the host of PAPERWIRE_BASE_URL."""
    if email_settings().mail_from:
        return parse_sender(email_settings().mail_from)
    host = urlsplit(settings().base_url).hostname or "localhost"
    has_domain = "." in host and not host.replace(".", "").isdigit() and ":" not in host
    return address(f"paperwire@{host if has_domain else 'localhost'}", "paperwire")
