"""Slack's settings and targets: a channel with a bot token, or an incoming webhook."""

import hashlib
import re
from functools import cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator, model_validator

from services.domain.http.ssrf import WEB_PORTS, AllowList
from services.errors import TargetError
from services.settings import Configured, load, settings

WEBHOOK_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")
_CHANNEL_ID = re.compile(r"[CDGUW][A-Z0-9]{3,20}")
_CHANNEL_NAME = re.compile(r"[\w.-]{1,80}")


class SlackSettings(Configured):
    slack_bot_token: SecretStr = SecretStr("")
    slack_api_url: str = "https://slack.com/api/"

    @field_validator("slack_api_url")
    @classmethod
    def _http(cls, url: str) -> str:
        if not url.startswith(("https://", "http://")):
            raise ValueError("must start with https:// or http://")
        return url.rstrip("/") + "/"


@cache
def slack_settings() -> SlackSettings:
    return load(SlackSettings)


class SlackTarget(BaseModel):
    """Either `channel`, with its own token or that of the settings, or `webhook_url`."""

    model_config = ConfigDict(hide_input_in_errors=True)

    channel: str = ""
    token: SecretStr = SecretStr("")
    webhook_url: SecretStr = SecretStr("")

    @field_validator("channel")
    @classmethod
    def _canonical(cls, text: str) -> str:
        text = text.strip()
        if not text or _CHANNEL_ID.fullmatch(text):
            return text
        name = text.removeprefix("#")
        if not _CHANNEL_NAME.fullmatch(name) or name != name.lower():
            raise ValueError("is not a Slack channel; it reads #papers or C0123ABCD")
        return f"#{name}"

    @field_validator("webhook_url")
    @classmethod
    def _webhook(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value() and not _is_webhook(url.get_secret_value()):
            raise ValueError(f"is not a Slack webhook; it reads https://{WEBHOOK_HOSTS[0]}/services/…")
        return url

    @model_validator(mode="after")
    def _channel_or_webhook(self) -> "SlackTarget":
        if bool(self.channel) == bool(self.webhook_url.get_secret_value()):
            raise ValueError("must have either a channel or a webhook_url")
        return self

    def bot_token(self) -> str:
        return self.token.get_secret_value() or slack_settings().slack_bot_token.get_secret_value()


def _is_webhook(url: str) -> bool:
    """Checks the form only, so that a stored target stays valid when the allowed hosts change."""
    try:
        parts = urlsplit(url)
        port_is_a_number = parts.port is None or parts.port > 0
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url and not parts.username and not parts.fragment
    web = parts.scheme in ("http", "https") and bool(parts.hostname)
    return plain and web and port_is_a_number and parts.path.startswith("/services/")


def require_webhook_host(url: str) -> None:
    """Raises TargetError unless the host is Slack's (https, its own port) or one that the operator allows."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname in WEBHOOK_HOSTS and parts.port in (None, 443):
        return
    if not _allowed(parts.hostname or "", parts.port or WEB_PORTS[parts.scheme]):
        raise TargetError(
            f"a Slack webhook reads https://{WEBHOOK_HOSTS[0]}/services/…; "
            "PAPERWIRE_ALLOW_WEBHOOK_HOSTS allows other hosts"
        )


def _allowed(host: str, port: int) -> bool:
    allowed = AllowList.parse(settings().webhook_hosts)
    try:
        return allowed.has_name(host, port) or allowed.has_address(ip_address(host), port)
    except ValueError:
        return False


def digest_of(secret: str, length: int) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:length]
