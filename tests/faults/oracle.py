"""Compares the alerts that subscribers should get with the messages that the sinks accepted."""

import email
import email.policy
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import EmailMessage
from typing import NamedTuple, cast

from tests.support.service import POST
from tests.support.sinks import Asked, HttpSink, Mail, SmtpSink

TOKEN = re.compile(r"\bP\d{5}\b")
"""The token in the title of every paper that a test announces."""

RESENT_DELIVERIES = "SELECT count(*) FROM delivery WHERE ambiguous_resends > 0"
"""The number of deliveries that the service sent again because the first attempt may have arrived."""


class Alert(NamedTuple):
    """A paper on a channel, which is an address or `#name`."""

    channel: str
    paper: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message that a sink accepted. Copies of a message have the same `identity`."""

    channel: str
    body: bytes
    identity: str
    papers: frozenset[str]


def message_from_mail(mail: Mail) -> Message:
    parsed = cast(EmailMessage, email.message_from_bytes(mail.body, policy=email.policy.default))
    part = parsed.get_body(("plain",))
    assert part is not None
    text = f"{parsed['Subject']}\n{part.get_content()}"
    return Message(mail.recipient, mail.body, str(parsed["Message-ID"]), frozenset(TOKEN.findall(text)))


def message_from_post(request: Asked) -> Message:
    payload = json.loads(request.body)
    papers = frozenset(TOKEN.findall(request.body.decode()))
    return Message(payload["channel"], request.body, payload["client_msg_id"], papers)


def received(smtp: SmtpSink, slack: HttpSink, refused: Iterable[Asked] = ()) -> list[Message]:
    """Every accepted message with papers. Thread replies repeat the papers of their message, so they do not count."""
    rejected = list(refused)
    posts = [post for post in slack.to(POST) if post not in rejected and "thread_ts" not in json.loads(post.body)]
    messages = [message_from_mail(mail) for mail in list(smtp.mails)] + [message_from_post(post) for post in posts]
    return [message for message in messages if message.papers]


def alerts_in(messages: Iterable[Message]) -> set[Alert]:
    return {Alert(message.channel, paper) for message in messages for paper in message.papers}


def copies(messages: Iterable[Message]) -> dict[str, list[Message]]:
    by_identity: dict[str, list[Message]] = defaultdict(list)
    for message in messages:
        by_identity[message.identity].append(message)
    return by_identity


def check_alerts(expected: set[Alert], messages: list[Message], *, resent: int) -> None:
    """Fails unless every expected alert arrived, no other one did, and each paper came in one message a channel.

    A message may have one copy, byte for byte the same, if the service sent it again; `resent` is how often it did.
    """
    arrived = alerts_in(messages)
    assert arrived - expected == set(), "an alert arrived that nobody subscribed to"
    assert expected - arrived == set(), "an alert was lost"
    identities: dict[Alert, set[str]] = defaultdict(set)
    for message in messages:
        for paper in message.papers:
            identities[Alert(message.channel, paper)].add(message.identity)
    assert {alert for alert, found in identities.items() if len(found) > 1} == set(), "a paper came in two messages"
    for same in copies(messages).values():
        assert len(same) <= 2, "a third copy was sent"
        assert len({message.body for message in same}) == 1, "a copy differs from the first message"
    extra = len(messages) - len(copies(messages))
    assert extra <= resent, f"{extra} copies, but the service sent only {resent} messages again"
