"""slack-sdk is still the code that `sdk_overrides` was written against."""

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from slack_sdk import WebClient
from slack_sdk.webhook import WebhookClient

from services.notifiers.slack.sdk_overrides import BotClient, IncomingWebhookClient

# Of slack-sdk 3.47.0: the overridden methods, and the methods that call them and handle their errors.
KNOWN = {
    WebClient._perform_urllib_http_request: "11f0bdc3951b868c",
    WebClient._perform_urllib_http_request_internal: "fabcc4caa02c991c",
    WebhookClient._perform_http_request: "656866ab6d610560",
    WebhookClient._perform_http_request_internal: "b5e8377f633ee394",
}


@pytest.mark.parametrize("method", KNOWN, ids=lambda method: method.__qualname__)
def test_the_sdk_has_not_changed_under_the_overrides(method: Callable[..., Any]) -> None:
    digest = hashlib.sha256(inspect.getsource(method).encode()).hexdigest()[:16]
    assert digest == KNOWN[method], (
        f"slack-sdk has changed {method.__qualname__}: read what changed, adapt sdk_overrides.py where needed, "
        f"and put {digest} here"
    )


@pytest.mark.parametrize(
    ("ours", "sdk_class", "name"),
    [
        (BotClient, WebClient, "_perform_urllib_http_request_internal"),
        (IncomingWebhookClient, WebhookClient, "_perform_http_request_internal"),
    ],
)
def test_only_the_known_methods_are_overridden(ours: type, sdk_class: type, name: str) -> None:
    assert [member for member in vars(ours) if not member.startswith("__")] == [name]
    parameters = [inspect.signature(getattr(client, name)).parameters for client in (ours, sdk_class)]
    assert [list(names) for names in parameters] == [["self", "url", "req"]] * 2
