"""The meaning of a returned or refused mail, by its enhanced status code (RFC 3463) and the server's text."""

import re
from dataclasses import dataclass
from datetime import timedelta

_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_REPLY_CODE = re.compile(r"\s*([245]\d\d)(?!\d)")
MAX_REASON = 200
"""Characters of a reason that people read."""
REFUSALS_IN_A_ROW = 5
"""A channel is stopped after so many messages in a row were refused for good, whatever the code is."""
OVER_QUOTA_PAUSE_SECONDS = 24 * 3600.0
"""A full mailbox is tried again after this time."""
SENT_AGAIN_FOR = timedelta(days=7)
"""A mail that came back from a full mailbox is sent again when it was sent within this time. Servers queue for five."""

# https://www.iana.org/assignments/smtp-enhanced-status-codes. Mailbox, system or syntax of the recipient's address is
# bad (1, 2, 3), the mailbox has moved (6), or the domain takes no mail (10). 0, 4, 5 and 7 to 9 do not say that.
_RECIPIENT_STATUSES = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"})
_VAGUE_STATUSES = frozenset({"5.0.0", "5.1.0"})
"""These statuses say nothing, so the text has to name the recipient."""
_ADDRESS = re.compile(r"<[^<>\s]*>|[^\s<>@]+@[^\s<>@]+")
_UNKNOWN_RECIPIENT = re.compile(
    r"\b(?:user|recipient|mailbox|account)\b.{0,40}?\b(?:unknown|not found|not exist|doesn't exist|not known|invalid)\b"
    r"|\b(?:unknown|no such|invalid|non-?existent)\s+(?:local\s+)?(?:user|recipient|mailbox|account|person)\b",
    re.IGNORECASE | re.DOTALL,
)
# The words with which servers refuse the sender, its network, the content, or mail for a while.
_OTHER_CAUSE = re.compile(
    r"\bsender|mail[ _-]?from|\bfrom\b|return[ -]path|\bspf\b|\bdkim\b|\bdmarc\b|spam|unsolicited|\bbulk\b|virus"
    r"|malware|phish|\bblock|black[ -]?list|deny[ -]?list|gr[ae]y[ -]?list|\bbanned\b|reputation"
    r"|\bpolic(?:y|ies)\b|(?<!not )\blisted\b|\b(?:rbl|dnsbl|sbl|xbl|pbl)\b|barracuda|sorbs|cloudmark|senderbase"
    r"|relay(?:ing)? (?:access )?(?:denied|not|prohibited)|unable to relay|authenticat"
    r"|not (?:allowed|permitted|authori[sz]ed)|access denied|reverse dns|\brdns\b|\bptr\b"
    r"|\b(?:helo|ehlo|tls|starttls)\b|rate[ -]?limit|too (?:many|much|fast|large|big)|throttl|quota|\bfull\b"
    r"|exceed|insufficient|temporar|try (?:again )?later|your (?:ip|server|host|domain|network|organi[sz]ation)\b",
    re.IGNORECASE,
)
_MESSAGE_SIZE = re.compile(
    r"message (?:size|length)|size of (?:the|your) message|too (?:large|big|long)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounce:
    """A mail that was not delivered. The Message-IDs and links come from its returned headers and identify it."""

    message_ids: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    status: str
    """The enhanced status code, e.g. `5.1.1`; `5.0.0` when the report has none."""
    diagnostic: str = ""
    """The server's text, which usually repeats the status."""

    @property
    def reason(self) -> str:
        text = self.diagnostic if self.status in self.diagnostic else f"{self.status} {self.diagnostic}".strip()
        return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON - 1].rstrip()}…"

    @property
    def is_hard(self) -> bool:
        return is_hard(self.status, self.diagnostic)

    @property
    def is_over_quota(self) -> bool:
        code = _REPLY_CODE.match(self.diagnostic)
        return is_over_quota(int(code[1]) if code else 0, f"{self.status} {self.diagnostic}")

    @property
    def is_permanent(self) -> bool:
        return self.status.startswith("5.")


def status_of(*texts: str) -> str:
    """The first enhanced status code in the texts that is specific; else the first one, which ends in `.0.0`."""
    statuses = _statuses(*texts)
    specific = (status for status in statuses if not status.endswith(".0.0"))
    return next(specific, statuses[0] if statuses else "5.0.0")


def is_hard(status: str, diagnostic: str = "") -> bool:
    """Whether a refusal says that the recipient's address itself is bad, so that no mail can arrive there.

    When the status and the diagnostic contradict each other, the refusal is not hard. A wrong answer costs little:
    after several refusals in a row the channel is stopped anyway.
    """
    stated = {status, *_statuses(diagnostic)}
    if stated - _RECIPIENT_STATUSES - _VAGUE_STATUSES:
        return False
    code = _REPLY_CODE.match(diagnostic)
    if code and (not code[1].startswith("5") or code[1] == "552"):
        return False
    text = _ADDRESS.sub(" ", diagnostic)
    if _OTHER_CAUSE.search(text):
        return False
    return bool(stated & _RECIPIENT_STATUSES) or bool(_UNKNOWN_RECIPIENT.search(text))


def is_over_quota(code: int, text: str) -> bool:
    """Whether an SMTP reply says that the recipient's mailbox is full: 552, or a status x.2.2."""
    statuses = [status for status in _statuses(text) if not status.endswith(".0.0")]
    if statuses:
        return any(status.partition(".")[2] == "2.2" for status in statuses)
    return code == 552 and not _MESSAGE_SIZE.search(text)


def is_policy_refusal(text: str) -> bool:
    """Whether a refusal is one of security or policy (5.7.x): the operator has to act, not the recipient."""
    return status_of(text).startswith("5.7.")


def _statuses(*texts: str) -> list[str]:
    return [match[0] for text in texts for match in _STATUS.finditer(text)]
