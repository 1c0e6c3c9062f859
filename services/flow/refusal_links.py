"""The signed link with which a stranger refuses all mail from here. It contains the address, so no row is needed."""

import base64
import binascii

from services.errors import NotFound
from services.store.db.secrets import SecretBox

MAX_TOKEN = 600


def token(secrets: SecretBox, address: str) -> str:
    """Valid for good. `address` is in lower case."""
    encoded = base64.b32encode(address.encode()).decode().rstrip("=").lower()
    return f"{encoded}-{secrets.sign('refuse', address)}"


def address_of(secrets: SecretBox, text: str) -> str:
    """The address of a token. Raises NotFound for a token that was not signed here."""
    encoded, _, signature = text.partition("-")
    try:
        if not text.isascii() or len(text) > MAX_TOKEN or encoded != encoded.lower():
            raise ValueError
        address = base64.b32decode(encoded.upper() + "=" * (-len(encoded) % 8)).decode()
    except (ValueError, binascii.Error):
        raise NotFound("this link is not valid here") from None
    # Other spellings of the same bytes exist in base 32, and only the one that was sent is taken.
    if not secrets.verify(signature, "refuse", address) or token(secrets, address).partition("-")[0] != encoded:
        raise NotFound("this link is not valid here")
    return address
