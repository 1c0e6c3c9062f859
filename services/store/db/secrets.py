"""Encrypts the secrets of channels at rest and signs the links in mails."""

import base64
import hashlib
import hmac
import json

from cryptography.fernet import Fernet, InvalidToken

from services.errors import ConfigError


class SecretBox:
    """Fernet (AES-128-CBC, HMAC-SHA-256) under a key derived from PAPERWIRE_SECRET_KEY."""

    def __init__(self, secret_key: str) -> None:
        if not secret_key:
            raise ConfigError("PAPERWIRE_SECRET_KEY is needed to store secrets")
        # The prefixes separate the two keys. Stored secrets and mailed links depend on them, so they must not change.
        self._fernet = Fernet(
            base64.urlsafe_b64encode(hashlib.sha256(b"paperwire vault:" + secret_key.encode()).digest())
        )
        self._signing_key = hashlib.sha256(b"paperwire links:" + secret_key.encode()).digest()

    def encrypt(self, fields: dict[str, str]) -> bytes:
        return self._fernet.encrypt(json.dumps(fields).encode())

    def decrypt(self, encrypted: bytes) -> dict[str, str]:
        try:
            fields: dict[str, str] = json.loads(self._fernet.decrypt(encrypted))
        except InvalidToken:
            raise ConfigError("a channel's secret was encrypted with another PAPERWIRE_SECRET_KEY") from None
        return fields

    def sign(self, purpose: str, *values: object) -> str:
        """160 bits of an HMAC-SHA-256, in hex: programs that find links in text cut off a `-` at the end."""
        signed_text = "\0".join([purpose, *map(str, values)])
        return hmac.new(self._signing_key, signed_text.encode(), hashlib.sha256).hexdigest()[:40]

    def verify(self, signature: str, purpose: str, *values: object) -> bool:
        return hmac.compare_digest(self.sign(purpose, *values).encode(), signature.encode())
