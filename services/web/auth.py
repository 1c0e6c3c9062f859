"""Sign-in keys, and sessions in a signed cookie. The command line imports this module, so it imports little."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote, urlsplit

from itsdangerous import BadSignature, URLSafeTimedSerializer

from services.store.db.secrets import derive_key

SIGNIN_KEY_FILE = Path("run") / "signin-key"
"""The path in the data directory. `up` writes a new key at every start, with mode 0600."""
COOKIE = "paperwire_session"
SECURE_COOKIE = f"__Host-{COOKIE}"
"""Browsers take a cookie of this name over https only, and from no other host of the domain."""
SESSION_SECONDS = 30 * 86_400
"""The lifetime of the cookie. A session's row ends it after the same time (`store/accounts/sessions.py`)."""


def signin_url(base_url: str, key: str) -> str:
    """The sign-in link with a key: the one that `up` prints, or a single-use key."""
    return f"{base_url}/signin?key={quote(key, safe='')}"


def is_loopback(host: str) -> bool:
    """Whether a host (without port and brackets) is `localhost` or a loopback address."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(url: str) -> str:
    """The host of a URL without the port."""
    return host_name(url.partition("://")[2].partition("/")[0])


def host_name(header: str) -> str:
    """The host of a `Host` header without the port; empty if it cannot be parsed."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def is_printed_key(key: str, *, data_dir: Path, bind: str, host_header: str) -> bool:
    """Whether `key` is the one that `up` printed at its last start and the request is for a loopback address."""
    if not (is_loopback(bind) and is_loopback(host_name(host_header))):
        return False
    try:
        printed = (data_dir.expanduser() / SIGNIN_KEY_FILE).read_bytes().strip()
    except OSError:
        return False
    return bool(printed) and hmac.compare_digest(printed, key.encode())


def safe_next(path: str) -> str:
    """`path` if it is a path on this server, else `/`. Prevents redirects to other sites."""
    is_local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and len(path) <= 500
    return path if is_local else "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The content of the cookie. `nonce` binds forms to it; `next_path` is the page to open after signing in."""

    nonce: str
    key: str = ""
    """The key of the session's row (`store/accounts/sessions.py`); empty before signing in."""
    next_path: str = "/"
    link: str = ""
    """The key of the sign-in link that was opened, until its button is pressed."""
    oidc: str = ""
    """State, nonce and PKCE verifier of the sign-in that was begun at the issuer, separated by blanks."""
    identity: str = ""
    """Issuer, subject and time of a sign-in there, each on a line, of a person who has no address here yet."""


def browser_digest(session: Session) -> bytes:
    """What a sign-in link stores of the browser that asked for it."""
    return hashlib.sha256(session.nonce.encode()).digest()


class Sessions:
    """Signs and reads session cookies, which stay valid across restarts as long as their key is among the secret keys.

    The first of `secret_keys` signs. The others, which it replaced, only verify.
    """

    def __init__(self, secret_keys: Sequence[str]) -> None:
        # The signer takes the current key last.
        self._signer = URLSafeTimedSerializer(
            [derive_key(key, "sessions") for key in reversed(secret_keys)],
            salt="paperwire session",
            signer_kwargs={"digest_method": hashlib.sha256},
        )
        self._form_keys = [derive_key(key, "forms") for key in secret_keys]

    def new(self, key: str = "", next_path: str = "/") -> Session:
        return Session(nonce=secrets.token_urlsafe(16), key=key, next_path=next_path)

    def write(self, session: Session) -> str:
        return str(self._signer.dumps(astuple(session)))

    def read(self, cookie: str) -> Session | None:
        """The session, or None if the cookie is forged, damaged or older than thirty days."""
        try:
            values = [str(value) for value in self._signer.loads(cookie, max_age=SESSION_SECONDS)]
            return Session(**dict(zip((field.name for field in fields(Session)), values, strict=True)))
        except (BadSignature, ValueError, TypeError):
            return None

    def form_token(self, session: Session) -> str:
        """The token that every form of this session contains."""
        return _form_token(self._form_keys[0], session)

    def is_form_token(self, token: str, session: Session) -> bool:
        valid = (_form_token(key, session) for key in self._form_keys)
        return any(hmac.compare_digest(each.encode(), token.encode()) for each in valid)


def _form_token(key: bytes, session: Session) -> str:
    return hmac.new(key, session.nonce.encode(), hashlib.sha256).hexdigest()
