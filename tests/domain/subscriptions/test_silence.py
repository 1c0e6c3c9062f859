"""What a silence covers."""

from datetime import UTC, date, datetime

from services.domain.papers.paper import Paper
from services.domain.query.evaluate import PaperText
from services.domain.query.parser import parse
from services.domain.subscriptions.silence import Silence, covering_silence

MAY, JUNE = datetime(2026, 5, 4, 8, tzinfo=UTC), datetime(2026, 6, 4, tzinfo=UTC)
ROBOTS = PaperText.of(Paper(id=1, title="Robots", announced_on=date(2026, 5, 4), first_seen_at=MAY))


def test_all_that_a_silence_names_must_hold() -> None:
    both = Silence(until=MAY, query=parse("robots"), subscription_id=7)
    assert covering_silence([both], 7, ROBOTS) == both
    assert covering_silence([both], 8, ROBOTS) is None
    assert covering_silence([Silence(until=MAY, query=parse("plants"), subscription_id=7)], 7, ROBOTS) is None
    assert covering_silence([Silence(until=MAY)], 8, ROBOTS) is not None
    assert covering_silence([], 8, ROBOTS) is None


def test_the_longest_of_several_is_named() -> None:
    short, long = Silence(until=MAY), Silence(until=JUNE, query=parse("robot*"))
    assert covering_silence([short, long], 1, ROBOTS) == long
    assert str(long) == "silenced until 2026-06-04 00:00 UTC: robot*"
    assert str(short) == "silenced until 2026-05-04 08:00 UTC"
