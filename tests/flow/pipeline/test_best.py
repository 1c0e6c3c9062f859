"""The best of a query: each digest takes the best papers of its share, and the others are held back."""

from sqlalchemy import delete, select

from services.domain.delivery.selection import ChannelPaper
from services.domain.subscriptions.draft import Draft
from services.flow.commands import subscribe
from services.flow.commands.explain import explain
from services.flow.commands.preview import preview
from services.store.db.tables import match, subscription, subscription_channel
from services.store.digests import content
from services.store.maintenance import dashboard
from services.store.subscriptions import subscriptions
from tests.support.world import TimedPipeline, entry

WEAK, FAIR, STRONG = "About something", "About a robot", "Robot robot robot"


def announce(world: TimedPipeline, *papers: tuple[str, int], first: int = 1) -> None:
    """Papers (title, upvotes) whose abstracts name robots."""
    today = world.clock.now.date()
    world.announce(
        *(
            entry(title, first + n, abstract="A robot.", announced_on=today, upvotes=upvotes)
            for n, (title, upvotes) in enumerate(papers)
        )
    )
    world.embed_and_match()
    world.notify()


def best(world: TimedPipeline, volume: str = "5/week", **values: object) -> int:
    return world.subscribe(**{"name": "Robots", "query": "robot", "volume": volume, "cadence": "daily"} | values)  # type: ignore[arg-type]


def test_a_digest_takes_the_most_relevant_and_says_why_the_others_are_held_back(timed: TimedPipeline) -> None:
    robots = best(timed)
    announce(timed, (WEAK, 50), (STRONG, 0), ("About another thing", 2))
    assert len(timed.matches()) == 3
    timed.wait("2026-05-04T08:00")
    assert timed.digests() == [("2026-05-04", [STRONG])]
    dropped = {row["dropped_because"] for row in timed.items() if row["delivery_id"] is None}
    assert dropped == {"held back: over 5 a week"}
    steps = explain(timed.db, timed.embedder, str(timed.paper(WEAK)), robots)
    assert ("dropped", "ada@example.org: held back: over 5 a week") in steps
    with timed.db.transaction() as tx:
        (reason,) = dashboard.reasons(tx, timed.account, [timed.paper(WEAK)])[timed.paper(WEAK)]
    assert reason.reason.endswith("; held back: over 5 a week")


def test_upvotes_decide_between_papers_of_about_the_same_relevance(timed: TimedPipeline) -> None:
    best(timed)
    announce(timed, ("About one", 3), ("About two", 9))
    timed.wait("2026-05-04T08:00")
    assert timed.digests() == [("2026-05-04", ["About two"])]


def test_no_week_has_more_than_the_volume(timed: TimedPipeline) -> None:
    best(timed, "3/week")
    for day in range(4, 12):
        timed.clock.to(f"2026-05-{day:02}T06:00")
        announce(timed, (f"{FAIR} {day}", 0), (f"{WEAK} {day}", 0), first=10 * day)
        timed.wait(f"2026-05-{day:02}T08:00")
    days = [day for day, _ in timed.digests()]
    assert days == ["2026-05-04", "2026-05-05", "2026-05-06", "2026-05-11"]


def test_a_weekly_digest_takes_the_best_of_its_week(timed: TimedPipeline) -> None:
    best(timed, "2/week", cadence="weekly")
    announce(timed, (WEAK, 0), (STRONG, 0))
    timed.clock.to("2026-05-07T06:00")
    announce(timed, (FAIR, 0), first=10)
    timed.wait("2026-05-11T08:00")
    assert [sorted(titles) for _, titles in timed.digests()] in ([[FAIR, STRONG]], [[STRONG], [FAIR]])


def test_a_paper_that_another_subscription_wants_is_sent_with_its_reason_alone(timed: TimedPipeline) -> None:
    best(timed)
    timed.subscribe("Things", query="something", cadence="daily")
    announce(timed, (WEAK, 0), (STRONG, 0))
    timed.wait("2026-05-04T08:00")
    assert sorted(timed.digests()[0][1]) == [WEAK, STRONG]
    paper = timed.paper(WEAK)
    with timed.db.transaction() as tx:
        selection = content.load_selection(tx, [ChannelPaper(timed.account, timed.email, paper)], timed.now())
    assert [reason.name for reason in selection.reasons[timed.email, paper]] == ["Things"]


def test_a_held_back_paper_is_sent_once_another_subscription_matches_it(timed: TimedPipeline) -> None:
    best(timed)
    announce(timed, (WEAK, 0), (STRONG, 0))
    timed.wait("2026-05-04T08:00")
    other = timed.subscribe("Popular", query="something", min_upvotes=5, cadence="daily")
    timed.clock.to("2026-05-04T09:00")
    announce(timed, (WEAK, 9))
    assert (other, timed.paper(WEAK)) in timed.matches()
    timed.wait("2026-05-05T08:00")
    assert timed.digests()[1:] == [("2026-05-05", [WEAK])]


def test_a_paused_subscription_decides_nothing(timed: TimedPipeline) -> None:
    robots = best(timed)
    timed.subscribe("Things", query="robot", cadence="daily")
    subscribe.pause(timed.db, robots, "", timed.account)
    announce(timed, (WEAK, 0), (STRONG, 0))
    timed.wait("2026-05-04T08:00")
    decided = timed.rows(select(match.c.decided).where(match.c.subscription_id == robots))
    assert not any({"taken", "held"} & row["decided"].keys() for row in decided)


def test_the_preview_takes_what_digests_would_take(timed: TimedPipeline) -> None:
    announce(timed, (WEAK, 50), (STRONG, 0), (FAIR, 0))
    seen = preview(timed.db, timed.embedder, Draft(query="robot", volume="5/week"))
    assert (len(seen.hits), seen.everything) == (1, 3)
    assert [sample.paper.title for sample in seen.samples] == [STRONG]
    assert len(preview(timed.db, timed.embedder, Draft(query="robot")).hits) == 3


def test_an_interest_beside_the_query_keeps_its_own_volume(timed: TimedPipeline) -> None:
    both = timed.subscribe(query="robot", interest="robots", volume="5/week", cadence="daily")
    (row,) = timed.rows(select(subscription.c.volume, subscription.c.best).where(subscription.c.id == both))
    assert (row["volume"], row["best"]) == ("5/week", "")
    alone = best(timed, "7/week")
    with timed.db.transaction() as tx:
        assert subscriptions.draft_of(tx, subscriptions.find(tx, alone)).volume == "7/week"


def test_a_held_back_paper_does_not_return_because_something_else_matches_it(timed: TimedPipeline) -> None:
    best(timed)
    announce(timed, (WEAK, 0), (STRONG, 0))
    timed.wait("2026-05-04T08:00")
    elsewhere = timed.subscribe("Elsewhere", query="something", min_upvotes=5, cadence="daily")
    with timed.db.transaction() as tx:
        tx.execute(delete(subscription_channel).where(subscription_channel.c.subscription_id == elsewhere))
    timed.clock.to("2026-05-04T09:00")
    announce(timed, (WEAK, 9))
    assert (elsewhere, timed.paper(WEAK)) in timed.matches()
    timed.wait("2026-05-05T08:00")
    assert len(timed.digests()) == 1
    assert {row["dropped_because"] for row in timed.items()} == {"", "held back: over 5 a week"}


def test_a_digest_that_comes_seconds_earlier_than_a_week_ago_has_its_share(timed: TimedPipeline) -> None:
    best(timed, "1/week")
    announce(timed, (STRONG, 0))
    timed.wait("2026-05-04T08:00:20")
    timed.clock.to("2026-05-11T06:00")
    announce(timed, (FAIR, 0), first=10)
    timed.wait("2026-05-11T08:00:05")
    assert [titles for _, titles in timed.digests()] == [[STRONG], [FAIR]]
