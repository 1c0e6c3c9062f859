"""What people were to get, what the sinks took for them, and what the difference may be."""

import email
import email.policy
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import EmailMessage
from typing import NamedTuple, cast

from tests.service import POST
from tests.sinks import Asked, HttpSink, Mail, SmtpSink

TOKEN = re.compile(r"\bP\d{5}\b")
"""Stands in the title of every paper that a test announces."""

DOUBTFUL = "SELECT count(*) FROM delivery WHERE ambiguous_resends > 0"
"""How many sendings were repeated for a doubt, as the service itself keeps it."""


class Told(NamedTuple):
    """One paper on one channel; the channel is an address or `#name`."""

    channel: str
    paper: str


@dataclass(frozen=True, slots=True)
class Message:
    """A body that a sink took. `identity` is what a receiver could tell copies by."""

    channel: str
    body: bytes
    identity: str
    papers: frozenset[str]


def of_mail(mail: Mail) -> Message:
    parsed = cast(EmailMessage, email.message_from_bytes(mail.body, policy=email.policy.default))
    part = parsed.get_body(("plain",))
    assert part is not None
    words = f"{parsed['Subject']}\n{part.get_content()}"
    return Message(mail.recipient, mail.body, str(parsed["Message-ID"]), frozenset(TOKEN.findall(words)))


def of_post(asked: Asked) -> Message:
    payload = json.loads(asked.body)
    papers = frozenset(TOKEN.findall(asked.body.decode()))
    return Message(payload["channel"], asked.body, payload["client_msg_id"], papers)


def received(smtp: SmtpSink, slack: HttpSink, refused: Iterable[Asked] = ()) -> list[Message]:
    """Every message with papers that was taken; replies in a thread repeat their message's papers and do not count."""
    no = list(refused)
    posts = [one for one in slack.to(POST) if one not in no and "thread_ts" not in json.loads(one.body)]
    messages = [of_mail(mail) for mail in list(smtp.mails)] + [of_post(one) for one in posts]
    return [one for one in messages if one.papers]


def told(messages: Iterable[Message]) -> set[Told]:
    return {Told(one.channel, paper) for one in messages for paper in one.papers}


def copies(messages: Iterable[Message]) -> dict[str, list[Message]]:
    found: dict[str, list[Message]] = defaultdict(list)
    for one in messages:
        found[one.identity].append(one)
    return found


def judge(expected: set[Told], messages: list[Message], *, doubtful: int) -> None:
    """Everything asked for, nothing else, each paper in one message a channel, and no more copies than doubts.

    A copy is the same message byte for byte; each doubtful sending allows one.
    """
    got = told(messages)
    assert got - expected == set(), "somebody got what was not for him"
    assert expected - got == set(), "something was lost"
    told_in: dict[Told, set[str]] = defaultdict(set)
    for one in messages:
        for paper in one.papers:
            told_in[Told(one.channel, paper)].add(one.identity)
    assert {what: where for what, where in told_in.items() if len(where) > 1} == {}, "a paper came in two messages"
    for same in copies(messages).values():
        assert len(same) <= 2, "a third copy went out"
        assert len({one.body for one in same}) == 1, "a copy differs from the first"
    extra = len(messages) - len(copies(messages))
    assert extra <= doubtful, f"{extra} copies, but only {doubtful} sendings were in doubt"
