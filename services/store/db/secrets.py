"""Encrypts the secrets of channels at rest, and signs what stands in links."""

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
        self._fernet = Fernet(
            base64.urlsafe_b64encode(hashlib.sha256(b"paperwire vault:" + secret_key.encode()).digest())
        )
        self._signing_key = hashlib.sha256(b"paperwire links:" + secret_key.encode()).digest()

    def seal(self, secrets: dict[str, str]) -> bytes:
        return self._fernet.encrypt(json.dumps(secrets).encode())

    def open(self, sealed: bytes) -> dict[str, str]:
        try:
            opened: dict[str, str] = json.loads(self._fernet.decrypt(sealed))
        except InvalidToken:
            raise ConfigError("a channel's secret was sealed with another PAPERWIRE_SECRET_KEY") from None
        return opened

    def sign(self, purpose: str, *words: object) -> str:
        """160 bits of an HMAC-SHA-256 for a URL: in hex, since programs that find links in text cut a last `-` off."""
        said = "\0".join([purpose, *map(str, words)])
        return hmac.new(self._signing_key, said.encode(), hashlib.sha256).hexdigest()[:40]

    def signed(self, signature: str, purpose: str, *words: object) -> bool:
        return hmac.compare_digest(self.sign(purpose, *words).encode(), signature.encode())
