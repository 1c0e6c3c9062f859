"""Targets of channels, to and from the form in which they are stored."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

from services import plugins
from services.ports import AcceptanceAwaiting, RateLimited
from services.store.db.secrets import SecretBox
from services.store.delivery.records import Channel, StoredTarget


def target_of(channel: Channel, secrets: SecretBox) -> BaseModel:
    """Raises ConfigError when the secret was encrypted with another key."""
    secret_fields = secrets.decrypt(channel.secret) if channel.secret else {}
    return plugins.notifier(channel.kind).target.model_validate({**channel.target, **secret_fields})


def stored_target(kind: str, target: BaseModel, secrets: SecretBox, unaccepted_by: int | None = None) -> StoredTarget:
    """`unaccepted_by`: the account of a channel whose receiver has not accepted a message yet."""
    plugin = plugins.notifier(kind)
    transport = plugin.transport(target)
    if unaccepted_by is not None and isinstance(plugin, AcceptanceAwaiting):
        transport = plugin.transport_before_acceptance(target, unaccepted_by)
    public_fields, secret_fields = split_fields(target)
    return StoredTarget(
        kind=kind,
        label=plugin.label(target),
        target=dict(public_fields),
        secret=secrets.encrypt(secret_fields) if secret_fields else None,
        transport=transport,
        rate_limit_key=plugin.rate_limit_key(target) if isinstance(plugin, RateLimited) else "",
    )


def split_fields(target: BaseModel) -> tuple[Mapping[str, Any], dict[str, str]]:
    """The public and the secret fields of a target."""
    values = {name: getattr(target, name) for name in type(target).model_fields}
    secret = {name: value.get_secret_value() for name, value in values.items() if isinstance(value, SecretStr)}
    return {name: value for name, value in values.items() if name not in secret}, secret
