"""Cookies within one fetch (RFC 6265): what a host sets on the way is sent back to it, and forgotten afterwards."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

MAX_COOKIES = 50
MAX_SIZE = 4096
"""Characters of a name and its value."""


@dataclass(frozen=True, slots=True)
class _Cookie:
    name: str
    value: str
    domain: str
    path: str
    host_only: bool = True
    secure: bool = False


@dataclass(slots=True)
class CookieJar:
    _cookies: dict[tuple[str, str, str], _Cookie] = field(default_factory=dict)

    def store(self, url: str, set_cookies: Iterable[str], now: datetime) -> None:
        """Stores what the answer of `url` sets. Cookies of other domains and damaged ones are ignored."""
        parts = urlsplit(url)
        for text in set_cookies:
            cookie, expired = _read(text, parts, now)
            if cookie is None:
                continue
            key = (cookie.domain, cookie.path, cookie.name)
            self._cookies.pop(key, None)
            if not expired and len(self._cookies) < MAX_COOKIES:
                self._cookies[key] = cookie

    def header(self, url: str) -> str:
        """The Cookie header of a request for `url`; empty without cookies. Longer paths come first (section 5.4)."""
        parts = urlsplit(url)
        sent = [cookie for cookie in self._cookies.values() if _belongs_to(cookie, parts)]
        sent.sort(key=lambda cookie: -len(cookie.path))
        return "; ".join(f"{cookie.name}={cookie.value}" if cookie.name else cookie.value for cookie in sent)


def _read(text: str, parts: SplitResult, now: datetime) -> tuple[_Cookie | None, bool]:
    """The cookie of a Set-Cookie header, and whether it is to be deleted (sections 5.2 and 5.3)."""
    pair, *attributes = text.split(";")
    name, equals, value = pair.partition("=")
    host = (parts.hostname or "").lower()
    if not equals or not name.strip() or len(pair) > MAX_SIZE or not (pair.isascii() and pair.strip().isprintable()):
        return None, False
    directory = parts.path[: parts.path.rfind("/")] if parts.path.startswith("/") else ""
    cookie = _Cookie(name.strip(), value.strip(), host, directory or "/")
    max_age: bool | None = None
    expires = False
    for attribute in attributes:
        key, _, setting = (part.strip() for part in attribute.partition("="))
        match key.lower():
            case "domain" if domain := setting.lstrip(".").lower():
                if not _domain_matches(host, domain) or "." not in domain.strip("."):
                    return (None, False) if domain != host else (cookie, expires)
                cookie = replace(cookie, domain=domain, host_only=False)
            case "path":
                cookie = replace(cookie, path=setting if setting.startswith("/") else directory or "/")
            case "secure":
                cookie = replace(cookie, secure=True)
            case "max-age" if setting.removeprefix("-").isdecimal():
                max_age = setting.startswith("-") or not setting.strip("0")
            case "expires":
                expires = _is_past(setting, now)
    return cookie, expires if max_age is None else max_age


def _is_past(stamp: str, now: datetime) -> bool:
    try:
        moment = parsedate_to_datetime(stamp.replace("-", " "))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) <= now
    except (TypeError, ValueError, IndexError, OverflowError):
        return False


def _belongs_to(cookie: _Cookie, parts: SplitResult) -> bool:
    host, path = (parts.hostname or "").lower(), parts.path or "/"
    of_host = host == cookie.domain if cookie.host_only else _domain_matches(host, cookie.domain)
    of_path = path == cookie.path or path.startswith(cookie.path.rstrip("/") + "/")
    return of_host and of_path and (parts.scheme == "https" or not cookie.secure)


def _domain_matches(host: str, domain: str) -> bool:
    """Section 5.1.3."""
    return host == domain or (host.endswith(f".{domain}") and not _is_address(host))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
