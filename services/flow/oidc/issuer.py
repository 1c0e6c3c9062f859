"""Signing in at an OpenID Connect issuer: authorization code with PKCE (RFC 7636), state and nonce.

The operator names the issuer in the settings, so its addresses may be private. Its answers are still limited in size
and time, and nothing in them is believed before the signature and the claims of the ID token are checked.
"""

import base64
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from services.domain.accounts.issuer_subject import MAX_SUBJECT, Identity
from services.domain.accounts.profile import normalize_email
from services.domain.http.ssrf import WEB_PORTS
from services.errors import Busy, ConfigError, SigninError
from services.flow.oidc.metadata import Metadata, parse, read_json
from services.http.client import Fetcher
from services.ports import Request
from services.settings import Settings
from services.telemetry import log

TIMEOUT = 5.0
"""Seconds for one request to the issuer. A page waits for three of them at most."""
METADATA_KEPT_FOR = 3600.0
"""Seconds."""
KEYS_READ_AGAIN_AFTER = 60.0
"""Seconds. A signature by an unknown key has the keys read again, but not more often than this."""
MAX_ANSWER = 256 * 1024
"""Bytes."""
MAX_AT_ONCE = 4
"""Sign-ins that wait for the issuer at the same time, since each occupies one of the threads that answer pages."""
LEEWAY = 60
"""Seconds by which the clocks of issuer and paperwire may differ."""
SCOPE = "openid email"


class Issuer:
    """The issuer of the settings. Its metadata and keys are read at the first sign-in, and again from time to time."""

    def __init__(self, settings: Settings) -> None:
        if not settings.oidc_client_id:
            raise ConfigError("PAPERWIRE_OIDC_CLIENT_ID is not set, which PAPERWIRE_OIDC_ISSUER needs")
        self.url = settings.oidc_issuer
        self.redirect_uri = f"{settings.base_url}/signin/oidc/callback"
        self._client_id, self._secret = settings.oidc_client_id, settings.oidc_client_secret.get_secret_value()
        self._user_agent = settings.user_agent
        self._lock, self._slots = Lock(), BoundedSemaphore(MAX_AT_ONCE)
        self._metadata: tuple[Metadata, float] | None = None
        self._keys: tuple[Mapping[str, Any], float] | None = None
        self._fetchers: dict[str, Fetcher] = {}

    @property
    def name(self) -> str:
        """The host, as people know the service."""
        return urlsplit(self.url).hostname or self.url

    def authorize_url(self, state: str, nonce: str, verifier: str) -> str:
        """The address at the issuer to which the browser goes. Raises SigninError and Busy."""
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        with self._slot():
            url = self._read_metadata().authorize
        return str(
            prepare_grant_uri(
                url,
                client_id=self._client_id,
                response_type="code",
                redirect_uri=self.redirect_uri,
                scope=SCOPE,
                state=state,
                nonce=nonce,
                code_challenge=create_s256_code_challenge(verifier),
                code_challenge_method="S256",
            )
        )

    def finish(self, code: str, nonce: str, verifier: str, stated_issuer: str = "") -> Identity:
        """Who signed in, from the code that the browser brought. Raises SigninError and Busy.

        `stated_issuer`: the parameter `iss` beside the code (RFC 9207).
        """
        with self._slot():
            metadata = self._read_metadata()
            if (stated_issuer or metadata.names_itself) and stated_issuer != self.url:
                raise SigninError("the answer came from another sign-in service")
            tokens = self._exchange(metadata, code, verifier)
            claims = self._claims(metadata, tokens, nonce)
            return self._identity(metadata, tokens, claims)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(blocking=False):
            raise Busy("too many people sign in at the moment; try again in a few seconds")
        try:
            yield
        finally:
            self._slots.release()

    def _exchange(self, metadata: Metadata, code: str, verifier: str) -> Mapping[str, Any]:
        fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri}
        fields |= {"code_verifier": verifier, "client_id": self._client_id}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self._secret and metadata.posts_secret:
            fields["client_secret"] = self._secret
        elif self._secret:
            pair = f"{quote(self._client_id, safe='')}:{quote(self._secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        answer = self._fetcher(metadata.token).ask(
            metadata.token, urlencode(fields).encode(), headers, TIMEOUT, MAX_ANSWER
        )
        return read_json(answer, "the sign-in service did not accept the sign-in")

    def _claims(self, metadata: Metadata, tokens: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
        """The claims of the ID token, once its signature and its claims are checked."""
        from authlib.oidc.core import CodeIDToken
        from joserfc.errors import JoseError

        token = tokens.get("id_token")
        if not isinstance(token, str):
            raise SigninError("the sign-in service gave no ID token")
        try:
            decoded = self._decode(token, metadata)
            options = {
                "iss": {"essential": True, "value": self.url},
                "aud": {"essential": True, "value": self._client_id},
            }
            params = {"nonce": nonce, "client_id": self._client_id, "access_token": tokens.get("access_token")}
            claims = CodeIDToken(decoded.claims, decoded.header, options, params)
            claims.validate(now=int(time.time()), leeway=LEEWAY)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            log.warning("an ID token was refused", why=type(error).__name__, about=str(error)[:200])
            raise SigninError("the sign-in service gave an answer that cannot be trusted; begin again") from None
        return dict(claims)

    def _decode(self, token: str, metadata: Metadata) -> Any:
        """The token, whose signature is checked. Keys that are not known yet are read once more."""
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        def decode() -> Any:
            keys: Any = self._read_keys(metadata)
            return jwt.decode(token, KeySet.import_key_set(keys), algorithms=metadata.algorithms)

        try:
            return decode()
        except (JoseError, ValueError):
            with self._lock:
                if self._keys is None or time.monotonic() - self._keys[1] < KEYS_READ_AGAIN_AFTER:
                    raise
                self._keys = None
            return decode()

    def _identity(self, metadata: Metadata, tokens: Mapping[str, Any], claims: Mapping[str, Any]) -> Identity:
        subject = claims.get("sub")
        if not (isinstance(subject, str) and 0 < len(subject) <= MAX_SUBJECT and subject.isprintable()):
            raise SigninError("the sign-in service named nobody")
        address = _verified_email(claims)
        if not address and metadata.userinfo and isinstance(tokens.get("access_token"), str):
            address = self._email_of(metadata, str(tokens["access_token"]), subject)
        return Identity(self.url, subject, address)

    def _email_of(self, metadata: Metadata, access_token: str, subject: str) -> str:
        """The verified address that the userinfo endpoint states; empty: none."""
        headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json"}
        request = Request(url=metadata.userinfo, headers=headers, timeout=TIMEOUT)
        answer = self._fetcher(metadata.userinfo).fetch(request)
        try:
            stated = read_json(answer, "")
        except SigninError:
            return ""
        return _verified_email(stated) if stated.get("sub") == subject else ""

    def _read_metadata(self) -> Metadata:
        with self._lock:
            if self._metadata is not None and time.monotonic() - self._metadata[1] < METADATA_KEPT_FOR:
                return self._metadata[0]
        read = parse(self._get(f"{self.url.rstrip('/')}/.well-known/openid-configuration"), self.url)
        with self._lock:
            self._metadata = read, time.monotonic()
        return read

    def _read_keys(self, metadata: Metadata) -> Mapping[str, Any]:
        with self._lock:
            if self._keys is not None and time.monotonic() - self._keys[1] < METADATA_KEPT_FOR:
                return self._keys[0]
        read = self._get(metadata.keys_at)
        with self._lock:
            self._keys = read, time.monotonic()
        return read

    def _get(self, url: str) -> Mapping[str, Any]:
        answer = self._fetcher(url).fetch(Request(url=url, headers={"Accept": "application/json"}, timeout=TIMEOUT))
        return read_json(answer, "the sign-in service does not answer; try again, or have a link mailed")

    def _fetcher(self, url: str) -> Fetcher:
        """A client that reaches the host of this address, though it may be private."""
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        own = f"{host}:{parts.port or WEB_PORTS[parts.scheme]}"
        if own not in self._fetchers:
            self._fetchers[own] = Fetcher(user_agent=self._user_agent, allow_hosts=[own])
        return self._fetchers[own]


def _verified_email(claims: Mapping[str, Any]) -> str:
    """The address that the issuer says it has verified; empty: none. The text "true" is not the value true."""
    address = claims.get("email")
    if not isinstance(address, str) or claims.get("email_verified") is not True:
        return ""
    try:
        return normalize_email(address)
    except ConfigError:
        return ""
