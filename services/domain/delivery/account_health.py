"""The health of an account in one line: that all is well, or the one thing that is most wrong and how to mend it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class WatchedSource:
    id: int
    name: str
    failures: int
    succeeded_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelHealth:
    """A channel, and why nothing is sent to it; the fault is empty when it works."""

    label: str
    fault: str = ""
    is_operators: bool = False
    """Whether only an operator can mend the fault."""
    next_digest_at: datetime | None = None
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class TotalSilence:
    """A silence of all papers."""

    id: int
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountHealth:
    sources: Sequence[WatchedSource]
    """Those that are polled."""
    channels: Sequence[ChannelHealth]
    """Those that subscriptions use."""
    silence: TotalSilence | None = None
    sending_paused: bool = False
    away_until: datetime | None = None
    """The first end of a pause, when all subscriptions are paused."""
    operator: bool = False
    last_digest_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class HealthLine:
    """What the page says. `address` is where the button leads; `posts`: it changes something at once."""

    text: str
    is_good: bool = False
    button: str = ""
    address: str = ""
    posts: bool = False


FAILURES_SHOWN_FROM = 3
"""Failed polls in a row. One or two are usual, and the next poll reads what they missed."""


def health_line(health: AccountHealth, when: Callable[[datetime], str]) -> HealthLine:
    """The line about the account. `when` writes a time for its reader. What stops all papers comes first."""
    if not health.sources:
        button, address = ("watch arXiv", "/#watch") if health.operator else ("", "")
        asked = "" if health.operator else ". Ask an operator to add a source"
        return HealthLine(f"No source is watched: nothing new can come{asked}", button=button, address=address)
    if health.sending_paused:
        return HealthLine("Sending is paused by an operator. Papers wait and nothing is lost")
    if health.silence is not None:
        text = f"Everything is silenced until {when(health.silence.until)}: papers that match are dropped"
        return HealthLine(text, button="end", address=f"/silences/{health.silence.id}/end", posts=True)
    if health.away_until is not None:
        text = f"Everything is paused until {when(health.away_until)}: papers wait, and nothing is lost"
        return HealthLine(text, button="I am back", address="/away/end", posts=True)
    for channel in health.channels:
        if channel.fault:
            can_fix = health.operator or not channel.is_operators
            button, address = ("fix", "/channels") if can_fix else ("", "")
            return HealthLine(f"{channel.label}: {channel.fault}", button=button, address=address)
    failing = [source for source in health.sources if source.failures >= FAILURES_SHOWN_FROM]
    if failing:
        return _failing(failing[0], len(failing) - 1, health, when)
    return HealthLine(f"All well: {_facts(health, when)}", is_good=True)


def _failing(source: WatchedSource, others: int, health: AccountHealth, when: Callable[[datetime], str]) -> HealthLine:
    since = f"since {when(source.succeeded_at)}" if source.succeeded_at else "yet"
    more = f", nor {'has one other source' if others == 1 else f'have {others} other sources'}" if others else ""
    text = f"{source.name} has not answered {since}{more}"
    if not health.operator:
        return HealthLine(text)
    return HealthLine(text, button="retry", address=f"/sources/{source.id}/poll", posts=True)


def _facts(health: AccountHealth, when: Callable[[datetime], str]) -> str:
    read = [source.succeeded_at for source in health.sources if source.succeeded_at]
    count = len(health.sources)
    reading = f"last read {when(max(read))}" if read else "not read yet"
    facts = [f"{count} source{'s' if count != 1 else ''} watched, {reading}"]
    if health.last_digest_at:
        facts.append(f"last digest {when(health.last_digest_at)}")
    planned = [(channel.next_digest_at, channel.waiting) for channel in health.channels if channel.next_digest_at]
    if planned:
        at, waiting = min(planned)
        papers = f"{waiting:,} paper{'s' if waiting != 1 else ''}"
        facts.append(f"next {when(at)} with {papers if waiting else 'what comes until then'}")
    return ", ".join(facts)
