"""An OpenID Connect issuer on loopback: metadata, keys, tokens and user information over real HTTP."""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey


@cache
def rsa_key(name: str) -> RSAKey:
    """A key by its id, made once: that takes a tenth of a second."""
    return RSAKey.generate_key(2048, {"kid": name})


CLIENT, SECRET = "paperwire-test", "client secret: ü"


@dataclass
class Grant:
    """A person's consent, which the browser carries as a code."""

    challenge: str
    claims: dict[str, Any]
    header: dict[str, Any]
    userinfo: dict[str, Any]
    is_unsigned: bool = False
    key: Any = None


@dataclass
class OidcIssuer:
    """`metadata` changes what the issuer states; `broken` lists the paths that answer 500."""

    url: str = ""
    key: RSAKey = field(default_factory=lambda: rsa_key("one"))
    metadata: dict[str, Any] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def consent(
        self, authorize_url: str, subject: str = "s1", *, userinfo: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """What a person does at the issuer: the path of paperwire to which the browser returns.

        `claims` replace those of the ID token; None leaves one out. `header`, `unsigned` and `key` are about the token.
        """
        asked = {name: values[0] for name, values in parse_qs(urlsplit(authorize_url).query).items()}
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert asked["client_id"] == CLIENT
        assert "openid" in asked["scope"].split()
        options = {name: claims.pop(name, None) for name in ("header", "unsigned", "key", "state")}
        now = int(time.time())
        stated = {"iss": self.url, "sub": subject, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        stated = {name: value for name, value in {**stated, **claims}.items() if value is not None}
        code = secrets.token_urlsafe(8)
        header = {"alg": "RS256", "kid": "one", **(options["header"] or {})}
        about = {"sub": subject, **(userinfo or {})}
        self.grants[code] = Grant(
            asked["code_challenge"], stated, header, about, bool(options["unsigned"]), options["key"]
        )
        back = urlsplit(asked["redirect_uri"])
        return f"{back.path}?{urlencode({'code': code, 'state': options['state'] or asked['state']})}"

    def answer(self, path: str, form: dict[str, str], authorization: str) -> dict[str, Any] | None:
        self.asked.append(path)
        if path in self.broken:
            return None
        if path == "/.well-known/openid-configuration":
            places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "userinfo_endpoint": "userinfo"}
            urls = {name: f"{self.url}/{place}" for name, place in {**places, "jwks_uri": "keys"}.items()}
            return {
                "issuer": self.url,
                **urls,
                "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
                **self.metadata,
            }
        if path == "/keys":
            return {"keys": [self.key.as_dict(private=False)]}
        if path == "/userinfo":
            grant = self.grants.get(authorization.removeprefix("Bearer "))
            return grant.userinfo if grant else None
        return self._tokens(form, authorization) if path == "/token" else None

    def _tokens(self, form: dict[str, str], authorization: str) -> dict[str, Any] | None:
        pair = f"{quote(CLIENT, safe='')}:{quote(SECRET, safe='')}"
        is_client = authorization == f"Basic {base64.b64encode(pair.encode()).decode()}"
        grant = self.grants.get(form.get("code", ""))
        if grant is None or not is_client or form.get("grant_type") != "authorization_code":
            return None
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != grant.challenge:
            return None
        return {"access_token": form["code"], "token_type": "Bearer", "id_token": self._id_token(grant)}

    def _id_token(self, grant: Grant) -> str:
        if grant.is_unsigned:
            parts = (json.dumps(part).encode() for part in ({"alg": "none"}, grant.claims))
            return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."
        return jwt.encode(grant.header, grant.claims, grant.key or self.key, algorithms=["RS256", "HS256"])


@contextmanager
def serving() -> Iterator[OidcIssuer]:
    issuer = OidcIssuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            self._answer({name: values[0] for name, values in parse_qs(body).items()})

        def _answer(self, form: dict[str, str]) -> None:
            document = issuer.answer(self.path, form, self.headers.get("Authorization", ""))
            body = json.dumps(document if document is not None else {"error": "invalid_request"}).encode()
            self.send_response(200 if document is not None else 400)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
