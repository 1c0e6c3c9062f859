"""The metadata of an issuer (OpenID Connect Discovery 1.0), and the JSON in its answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from services.errors import SigninError
from services.http.client import Failed, Fetched
from services.telemetry import log

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Signatures by a private key of the issuer. `none` and those with a shared secret are refused."""


@dataclass(frozen=True, slots=True)
class Metadata:
    authorize: str
    token: str
    userinfo: str
    keys_at: str
    algorithms: tuple[str, ...]
    posts_secret: bool
    """The token endpoint takes the client's secret in the form only, not in the header."""
    names_itself: bool
    """The issuer states itself in the answer to the browser (RFC 9207)."""


def parse(stated: Mapping[str, Any], issuer: str) -> Metadata:
    """Raises SigninError for metadata of another issuer, and for an address that is not as safe as the issuer's."""
    if stated.get("issuer") != issuer:
        raise SigninError(
            "the sign-in service states another issuer; its operator has to correct PAPERWIRE_OIDC_ISSUER"
        )
    names = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
    urls = {name: _endpoint(stated.get(name), issuer) for name in names}
    if not all(urls[name] for name in names if name != "userinfo_endpoint"):
        raise SigninError("the sign-in service states no usable addresses")
    methods = _texts(stated.get("token_endpoint_auth_methods_supported")) or ("client_secret_basic",)
    offered = _texts(stated.get("id_token_signing_alg_values_supported")) or ("RS256",)
    return Metadata(
        authorize=urls["authorization_endpoint"],
        token=urls["token_endpoint"],
        userinfo=urls["userinfo_endpoint"],
        keys_at=urls["jwks_uri"],
        algorithms=tuple(name for name in ALGORITHMS if name in offered),
        posts_secret="client_secret_basic" not in methods and "client_secret_post" in methods,
        names_itself=stated.get("authorization_response_iss_parameter_supported") is True,
    )


def _endpoint(url: object, issuer: str) -> str:
    """An address of the metadata if it is https, or http as the issuer itself; otherwise empty."""
    if not isinstance(url, str):
        return ""
    try:
        parts = urlsplit(url)
        is_usable = bool(parts.hostname) and not parts.username and parts.port != 0
    except ValueError:
        return ""
    return url if is_usable and parts.scheme in ("https", urlsplit(issuer).scheme) else ""


def _texts(value: object) -> Sequence[str]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def read_json(answer: object, failed: str) -> Mapping[str, Any]:
    """The object in an answer. Raises SigninError with the text `failed`."""
    if not isinstance(answer, Fetched):
        log.warning("the sign-in service failed", why=answer.reason if isinstance(answer, Failed) else "")
        raise SigninError(failed)
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise SigninError(failed) from None
    if not isinstance(document, dict):
        raise SigninError(failed)
    return document
