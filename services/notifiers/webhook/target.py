"""The target of a webhook: its address and its signing secrets."""

import hashlib
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator

from services.http.client import check_address
from services.notifiers.webhook import signing
from services.settings import settings

OVERLAP = timedelta(hours=24)
"""A replaced secret also signs for this long."""
MAX_URL = 2000


class WebhookTarget(BaseModel):
    """The address is stored encrypted too, since it may contain a key."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: SecretStr
    secret: SecretStr = SecretStr("")
    previous: SecretStr = SecretStr("")
    previous_until: str = ""

    @field_validator("url")
    @classmethod
    def _web_address(cls, url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        parts = urlsplit(text)
        plain = text.isascii() and text.isprintable() and " " not in text and len(text) <= MAX_URL
        if not plain or parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
            raise ValueError("is not a webhook; it reads https://example.org/hooks/papers")
        return url

    @field_validator("secret", "previous")
    @classmethod
    def _key(cls, secret: SecretStr) -> SecretStr:
        if secret.get_secret_value():
            signing.key_of(secret.get_secret_value())
        return secret

    def stored_secrets(self, now: datetime) -> tuple[str, ...]:
        """The secrets to sign with: the present one, and for a day the replaced one."""
        sign_with_both = self.previous.get_secret_value() and now < datetime.fromisoformat(self.previous_until)
        return (self.secret.get_secret_value(), *((self.previous.get_secret_value(),) if sign_with_both else ()))

    def with_secret(self, secret: str, now: datetime) -> "WebhookTarget":
        """The target with a new secret. The old secret also signs for a day."""
        until = (now + OVERLAP).astimezone(UTC).isoformat() if self.secret.get_secret_value() else ""
        changed = {"secret": SecretStr(secret), "previous": self.secret, "previous_until": until}
        return self.model_copy(update=changed)


def require_allowed(url: str) -> None:
    """Raises NotAllowed for an address that requests must not go to. A host name is checked again once resolved."""
    check_address(url, settings().webhook_hosts)


def digest_of(url: str, length: int) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:length]
