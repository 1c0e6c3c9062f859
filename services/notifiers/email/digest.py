"""A digest as a mail: subject, plain text, and HTML with the same content."""

from services.domain.delivery.state_machine import DeliveryKind
from services.domain.digests.digest import Digest
from services.notifiers.email.message import MAX_SUBJECT
from services.ports import Envelope
from services.render import line, link, render, title
from services.settings import settings

MAX_HTML = 95_000
"""Bytes. Gmail cuts a mail at about 102 kB, and with its end the unsubscribe link."""
MAX_WITHOUT_CONTENTS = 15
"""Papers. A longer digest begins with a table of contents."""
ABSTRACT_LENGTHS = (600, 280, 0)
"""Maximum characters of an abstract. They are tried in turn until the mail is small enough."""


def digest_parts(digest: Digest, envelope: Envelope) -> tuple[str, str, str]:
    """(subject, text, HTML). A large mail has shorter abstracts, or only titles and reasons, but always all papers."""
    context = {
        "digest": digest,
        "subject": subject(digest),
        "heading": heading(digest),
        "preheader": preheader(digest),
        "has_contents": len(digest.papers) > MAX_WITHOUT_CONTENTS,
        "more_url": link(digest.more_url),
        "settings_url": link(digest.settings_url),
        "unsubscribe_url": link(envelope.unsubscribe_url),
        "paper_urls": envelope.paper_urls,
        "vote_urls": envelope.vote_urls,
    }
    for max_abstract, titles_only in (*((length, False) for length in ABSTRACT_LENGTHS), (0, True)):
        html = render("email/digest.html", max_abstract=max_abstract, titles_only=titles_only, **context)
        if len(html.encode()) <= MAX_HTML:
            break
    text = render("email/digest.txt", max_abstract=max_abstract, titles_only=titles_only, **context)
    return subject(digest), text, html


def confirm_parts(digest: Digest, envelope: Envelope) -> tuple[str, str, str]:
    """The opt-in request. It contains nothing that the person who entered the address has written."""
    context = {
        "subject": subject(digest),
        "preheader": "",
        "base_url": link(settings().base_url),
        "confirm_url": link(envelope.confirm_url),
        "unsubscribe_url": link(envelope.unsubscribe_url),
    }
    return context["subject"], render("email/confirm.txt", **context), render("email/confirm.html", **context)


def link_parts(digest: Digest, envelope: Envelope) -> tuple[str, str, str]:
    """A mail whose button opens a link, such as the one that signs in."""
    context = {"digest": digest, "subject": subject(digest), "preheader": "", "url": link(envelope.confirm_url)}
    context |= {"base_url": link(settings().base_url), "refuse_url": link(digest.settings_url)}
    return subject(digest), render("email/link.txt", **context), render("email/link.html", **context)


def subject(digest: Digest) -> str:
    """`Graph planning with LLMs, and 11 more papers`; of other messages than digests their title."""
    if digest.kind != DeliveryKind.DIGEST or not digest.papers:
        return heading(digest)
    others = len(digest.papers) + digest.more - 1
    rest = f", and {others} more paper{'s' if others > 1 else ''}" if others else ""
    return line(title(digest.papers[0].paper, MAX_SUBJECT - len(rest)), MAX_SUBJECT - len(rest)) + rest


def heading(digest: Digest) -> str:
    return line(digest.title) or "Papers for you"


def preheader(digest: Digest) -> str:
    """The first titles, which mail programs show next to the subject."""
    return line(" · ".join(title(item.paper, 90) for item in digest.papers[:3]))
