"""Settings from the environment or `.env`. Each can be in a file that `NAME_FILE` names, for mounted secrets."""

import os
import re
import secrets
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfoNotFoundError

import platformdirs
import tzlocal
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from services.domain.accounts.profile import names_place, parse_timezone
from services.domain.http.hostname import ascii_host
from services.domain.http.ssrf import AllowList
from services.errors import ConfigError

MIN_KEY_CHARACTERS = 32
"""192 bits, when the characters are those of base64."""


class _FileSource(PydanticBaseSettingsSource):
    """`PAPERWIRE_X_FILE=/run/secrets/x` gives the file's content as `PAPERWIRE_X`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        prefix = self.config.get("env_prefix", "")
        path = os.environ.get(f"{prefix}{field_name}_file".upper())
        return (Path(path).read_text().strip() if path else None), field_name, False

    def __call__(self) -> dict[str, Any]:
        values = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in values.items() if value is not None}


class Configured(BaseSettings):
    """Base of all settings. A plugin derives its own settings class from it."""

    model_config = SettingsConfigDict(env_prefix="paperwire_", env_file=".env", extra="ignore", env_ignore_empty=True)

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource, **named: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (named["init_settings"], _FileSource(settings_cls), named["env_settings"], named["dotenv_settings"])


def default_data_dir() -> Path:
    # Under root, the PostgreSQL wheel runs the server as another OS user, which must not get access to root's home.
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/paperwire")
    return Path(platformdirs.user_data_dir("paperwire"))


def _local_timezone() -> str:
    try:
        name = tzlocal.get_localzone_name()
    except (ZoneInfoNotFoundError, ValueError):
        return "UTC"
    return name if name and names_place(name) else "UTC"


class Settings(Configured):
    """The settings that belong to no plugin."""

    database_url: SecretStr = SecretStr("")
    database_role_password: SecretStr = SecretStr("")
    """`paperwire migrate` makes the role `paperwire_app` with this password on a database that is not embedded."""
    broker_url: SecretStr = SecretStr("")
    data_dir: Path = Field(default_factory=default_data_dir)
    base_url: str = "http://127.0.0.1:8400"
    bind: str = "127.0.0.1"
    trusted_proxies: str = ""
    """Addresses and networks whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    secret_key: SecretStr = SecretStr("")
    secret_keys_old: SecretStr = SecretStr("")
    """Keys that `secret_key` replaced, separated by commas. They verify and decrypt, and never sign or encrypt."""
    timezone: str = Field(default_factory=_local_timezone)
    signup: str = "closed"
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr = SecretStr("")
    embedder: str = "minilm"
    allow_source_hosts: str = ""
    """Private hosts that sources and their redirects may reach."""
    allow_webhook_hosts: str = ""
    """Private hosts that channels of any account may post to."""
    user_agent: str = "paperwire/0.1 (research-paper alerts)"
    retention: str = Field(default="30d", pattern=r"^\d+d$")
    max_subscriptions: int = Field(default=100, ge=1, le=10_000)
    max_channels: int = Field(default=100, ge=1, le=10_000)
    max_examples: int = Field(default=50, ge=1, le=500)
    previews_per_minute: int = Field(default=60, ge=1, le=10_000)
    tests_per_hour: int = Field(default=10, ge=1, le=10_000)
    confirmations_per_day: int = Field(default=20, ge=1, le=10_000)
    confirmations_per_day_in_all: int = Field(default=1000, ge=1, le=1_000_000)
    """Of all accounts, and of people who are not signed in."""
    change_log_retention: str = Field(default="400d", pattern=r"^\d+d$")
    shards: int = Field(default=1, ge=1, le=1024)
    time_scale: float = Field(default=1.0, gt=0, le=1.0)
    """Multiplies every lease, backoff and sweep; for tests only."""

    @field_validator("database_url")
    @classmethod
    def _with_driver(cls, url: SecretStr) -> SecretStr:
        """Adds the driver psycopg to `postgres://` and `postgresql://`."""
        scheme, separator, rest = url.get_secret_value().partition("://")
        return SecretStr(f"postgresql+psycopg://{rest}") if scheme in ("postgres", "postgresql") and separator else url

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, proxies: str) -> str:
        for proxy in _listed(proxies):
            try:
                ip_network(proxy)
            except ValueError:
                raise ValueError(f"{proxy!r} is neither an address nor a network such as 10.0.0.0/8") from None
        return proxies

    @field_validator("secret_key")
    @classmethod
    def _without_comma(cls, key: SecretStr) -> SecretStr:
        """Refuses a key that could not be listed in `secret_keys_old` later."""
        if "," in key.get_secret_value():
            raise ValueError("must not contain a comma")
        return key

    @field_validator("secret_key", "secret_keys_old")
    @classmethod
    def _long_enough(cls, keys: SecretStr) -> SecretStr:
        """Refuses keys that could be guessed: whoever has a signed link can try any number of keys against it."""
        if any(len(key) < MIN_KEY_CHARACTERS for key in _listed(keys.get_secret_value())):
            raise ValueError(
                f"must have {MIN_KEY_CHARACTERS} or more random characters, for example from `openssl rand -base64 32`"
            )
        return keys

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, name: str) -> str:
        try:
            return parse_timezone(name)
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @field_validator("allow_source_hosts", "allow_webhook_hosts")
    @classmethod
    def _hosts(cls, hosts: str) -> str:
        try:
            AllowList.parse(_listed(hosts))
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return hosts

    @field_validator("signup")
    @classmethod
    def _known_signup(cls, text: str) -> str:
        if not re.fullmatch(r"closed|invite|open|domain:[\w.-]+\.[\w-]+(,[\w.-]+\.[\w-]+)*", text.replace(" ", "")):
            raise ValueError("is closed, invite, open, or domain:example.org,example.com")
        return text.replace(" ", "")

    @field_validator("oidc_issuer")
    @classmethod
    def _issuer(cls, url: str) -> str:
        parts = urlsplit(url)
        is_local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
        is_usable = parts.hostname and not (parts.query or parts.fragment or parts.username)
        if url and not (is_usable and (parts.scheme == "https" or is_local)):
            raise ValueError("is the address of an OpenID Connect issuer, which begins with https://")
        return url

    @field_validator("base_url")
    @classmethod
    def _base_url(cls, url: str) -> str:
        """The address with its host as browsers send it: in lower case, IDNA 2008."""
        parts = urlsplit(url.rstrip("/"))
        if parts.scheme not in ("http", "https"):
            raise ValueError("must start with http:// or https://")
        if not parts.hostname or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("must be a host with or without a port, such as https://papers.example.org")
        host = ascii_host(parts.hostname)
        bracketed = f"[{host}]" if ":" in host else host
        return f"{parts.scheme}://{bracketed}" + (f":{parts.port}" if parts.port is not None else "")

    @property
    def role_password(self) -> str | None:
        """The password of the role that pages and workers sign in with; None when there shall be no such role."""
        return self.database_role_password.get_secret_value() or None

    @property
    def host(self) -> str:
        """The host of the base URL, without the port. Message ids and tags name it."""
        return urlsplit(self.base_url).hostname or "localhost"

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """The current secret key, then the old ones; empty when there is no current key."""
        current = self.secret_key.get_secret_value()
        return (current, *_listed(self.secret_keys_old.get_secret_value())) if current else ()

    @property
    def proxy_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(ip_network(proxy) for proxy in _listed(self.trusted_proxies))

    @property
    def source_hosts(self) -> tuple[str, ...]:
        return _listed(self.allow_source_hosts)

    @property
    def webhook_hosts(self) -> tuple[str, ...]:
        return _listed(self.allow_webhook_hosts)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


S = TypeVar("S", bound=Configured)


def load(kind: type[S], **overrides: Any) -> S:
    """Reads settings. Raises ConfigError for a bad value; it names the variable, not the value, which may be secret."""
    try:
        return kind(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        name = f"PAPERWIRE_{first['loc'][0]}".upper() if first["loc"] else "settings"
        raise ConfigError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from None
    except OSError as error:
        raise ConfigError(f"cannot read a secret file: {error.strerror}: {error.filename}") from None


@cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return load(Settings)


def new_secret() -> str:
    return secrets.token_urlsafe(32)
