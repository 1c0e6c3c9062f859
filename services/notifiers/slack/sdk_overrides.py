"""The two private methods of slack-sdk that paperwire overrides.

The SDK opens each request with `urlopen`, which follows redirects and takes proxies from the environment. The SDK has
no setting for either. `tests/notifiers/test_slack_sdk.py` fails when slack-sdk changes these methods or their callers.
"""

from typing import Any
from urllib.request import Request

from slack_sdk import WebClient
from slack_sdk.webhook import WebhookClient, WebhookResponse

from services.notifiers.slack.transport import send


class BotClient(WebClient):
    def _perform_urllib_http_request_internal(self, url: str, req: Request) -> dict[str, Any]:
        status, headers, body = send(req)
        return {"status": status, "headers": headers, "body": body}


class IncomingWebhookClient(WebhookClient):
    def _perform_http_request_internal(self, url: str, req: Request) -> WebhookResponse:
        status, headers, body = send(req)
        return WebhookResponse(url=url, status_code=status, body=body, headers=dict(headers))
