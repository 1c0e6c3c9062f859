"""Encrypts the secrets of channels at rest."""

import base64
import hashlib
import json

from cryptography.fernet import Fernet, InvalidToken

from services.errors import ConfigError


class Vault:
    """Fernet (AES-128-CBC, HMAC-SHA-256) under a key derived from PAPERWIRE_SECRET_KEY."""

    def __init__(self, secret_key: str) -> None:
        if not secret_key:
            raise ConfigError("PAPERWIRE_SECRET_KEY is needed to store secrets")
        self._fernet = Fernet(
            base64.urlsafe_b64encode(hashlib.sha256(b"paperwire vault:" + secret_key.encode()).digest())
        )

    def seal(self, secrets: dict[str, str]) -> bytes:
        return self._fernet.encrypt(json.dumps(secrets).encode())

    def open(self, sealed: bytes) -> dict[str, str]:
        try:
            opened: dict[str, str] = json.loads(self._fernet.decrypt(sealed))
        except InvalidToken:
            raise ConfigError("a channel's secret was sealed with another PAPERWIRE_SECRET_KEY") from None
        return opened
