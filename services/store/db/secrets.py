"""Encrypts the secrets of channels at rest and signs the links in mails, under the secret keys of the settings."""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.errors import ConfigError


def derive_key(secret_key: str, purpose: str) -> bytes:
    """32 bytes for one purpose: HKDF-SHA-256 (RFC 5869) of a secret key. No purpose reveals the key of another.

    Stored secrets and mailed links depend on the purposes, so a purpose must not be renamed.
    """
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"paperwire {purpose}".encode())
    return hkdf.derive(secret_key.encode())


class SecretBox:
    """Encrypts with Fernet (AES-128-CBC, HMAC-SHA-256) and signs with HMAC-SHA-256.

    The first of `secret_keys` encrypts and signs. The others, which it replaced, only decrypt and verify.
    """

    def __init__(self, secret_keys: Sequence[str]) -> None:
        if not secret_keys:
            raise ConfigError("PAPERWIRE_SECRET_KEY is needed to store secrets")
        fernets = [Fernet(base64.urlsafe_b64encode(derive_key(key, "stored secrets"))) for key in secret_keys]
        self._current, self._any = fernets[0], MultiFernet(fernets)
        self._signing_keys = [derive_key(key, "links") for key in secret_keys]

    def encrypt(self, fields: dict[str, str]) -> bytes:
        return self._current.encrypt(json.dumps(fields).encode())

    def decrypt(self, encrypted: bytes) -> dict[str, str]:
        try:
            fields: dict[str, str] = json.loads(self._any.decrypt(encrypted))
        except InvalidToken:
            raise ConfigError("a channel's secret was encrypted with another PAPERWIRE_SECRET_KEY") from None
        return fields

    def is_current(self, encrypted: bytes) -> bool:
        """Whether the current key encrypted it, so that no old key is needed for it."""
        try:
            self._current.decrypt(encrypted)
        except InvalidToken:
            return False
        return True

    def sign(self, purpose: str, *values: object) -> str:
        return _signature(self._signing_keys[0], purpose, values)

    def verify(self, signature: str, purpose: str, *values: object) -> bool:
        signatures = (_signature(key, purpose, values) for key in self._signing_keys)
        return any(hmac.compare_digest(valid.encode(), signature.encode()) for valid in signatures)


def _signature(key: bytes, purpose: str, values: Sequence[object]) -> str:
    """160 bits of an HMAC-SHA-256, in hex: programs that find links in text cut off a `-` at the end."""
    signed_text = "\0".join([purpose, *map(str, values)])
    return hmac.new(key, signed_text.encode(), hashlib.sha256).hexdigest()[:40]
