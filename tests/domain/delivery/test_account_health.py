"""The line about an account: each fault with its button, the gravest first."""

from dataclasses import replace
from datetime import UTC, datetime

from services.domain.delivery.account_health import (
    AccountHealth,
    ChannelHealth,
    HealthLine,
    TotalSilence,
    WatchedSource,
    health_line,
)

SIX, EIGHT = datetime(2026, 5, 4, 6, tzinfo=UTC), datetime(2026, 5, 4, 8, tzinfo=UTC)
WELL = AccountHealth(
    sources=[WatchedSource(1, "cs.LG", 0, SIX)],
    channels=[ChannelHealth(label="ada@example.org", next_digest_at=EIGHT, waiting=7)],
    last_digest_at=SIX,
)


def line(health: AccountHealth) -> HealthLine:
    return health_line(health, lambda moment: f"{moment:%H:%M}")


def test_all_is_well() -> None:
    said = line(WELL)
    assert said.text == "All well: 1 source watched, last read 06:00, last digest 06:00, next 08:00 with 7 papers"
    assert (said.is_good, said.button) == (True, "")
    empty = replace(WELL, channels=[ChannelHealth(label="x", next_digest_at=EIGHT)], last_digest_at=None)
    assert line(empty).text == "All well: 1 source watched, last read 06:00, next 08:00 with what comes until then"
    unread = replace(WELL, sources=[WatchedSource(1, "a", 0, None), WatchedSource(2, "b", 2, None)], channels=[])
    assert line(unread).text == "All well: 2 sources watched, not read yet, last digest 06:00"


def test_without_a_source_nothing_can_come() -> None:
    said = line(replace(WELL, sources=[], operator=True))
    assert said == HealthLine("No source is watched: nothing new can come", button="watch arXiv", address="/#watch")
    assert "Ask an operator" in line(replace(WELL, sources=[])).text
    assert line(replace(WELL, sources=[])).button == ""


def test_a_silence_of_everything_can_be_ended() -> None:
    said = line(replace(WELL, silence=TotalSilence(3, EIGHT)))
    assert said.text == "Everything is silenced until 08:00: papers that match are dropped"
    assert (said.button, said.address, said.posts, said.is_good) == ("end", "/silences/3/end", True, False)


def test_sending_is_paused() -> None:
    assert line(replace(WELL, sending_paused=True)).text.startswith("Sending is paused")


def test_a_channel_that_gets_nothing() -> None:
    said = line(replace(WELL, channels=[ChannelHealth(label="#papers", fault="disabled: no token")]))
    assert (said.text, said.button, said.address) == ("#papers: disabled: no token", "fix", "/channels")
    down = replace(WELL, channels=[ChannelHealth(label="#papers", fault="waits", is_operators=True)])
    assert line(down).button == ""
    assert line(replace(down, operator=True)).button == "fix"


def test_a_source_that_fails_again_and_again() -> None:
    broken = [WatchedSource(5, "cs.CL", 3, SIX), WatchedSource(6, "cs.AI", 9, None), WatchedSource(7, "ok", 2, SIX)]
    said = line(replace(WELL, sources=broken, operator=True))
    assert said.text == "cs.CL has not answered since 06:00, nor has one other source"
    assert (said.button, said.address, said.posts) == ("retry", "/sources/5/poll", True)
    assert line(replace(WELL, sources=broken[1:])).text == "cs.AI has not answered yet"
    assert line(replace(WELL, sources=broken)).button == ""


def test_the_gravest_fault_is_named() -> None:
    wrong = replace(WELL, silence=TotalSilence(3, EIGHT), channels=[ChannelHealth(label="x", fault="disabled")])
    assert line(wrong).text.startswith("Everything is silenced")
    assert line(replace(wrong, sources=[])).text.startswith("No source")


def test_a_pause_of_everything_can_be_ended() -> None:
    said = line(replace(WELL, away_until=EIGHT))
    assert said.text == "Everything is paused until 08:00: papers wait, and nothing is lost"
    assert (said.button, said.address, said.posts, said.is_good) == ("I am back", "/away/end", True, False)
