"""From matches to people: once a channel, together, at the right hour, and no more than the policy allows."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from services.domain.delivery.bounce import REFUSALS_IN_A_ROW
from services.errors import LeaseLost
from services.flow.commands import channels as channel_commands
from services.flow.pipeline.deliver.gather import gather_due
from services.flow.upkeep import recovery
from services.store.accounts import accounts
from services.store.db.secrets import SecretBox
from services.store.db.tables import channel, delivery, match, paper, rate_limit, run, transport
from services.store.delivery import channels, deliveries, ended_channels
from services.store.maintenance import audit
from services.store.subscriptions import subscriptions
from tests.flow.conftest import Configure
from tests.support.sinks import Answer, HttpSink, SmtpSink, refused_port
from tests.support.world import Pipeline, entry, new_test

AGENTS = "One paper about agent planning"
ROBOTS = "Another paper about robot planning"
POST = "/chat.postMessage"


def on_slack(world: Pipeline, name: str = "#papers") -> int:
    return channel_commands.find_or_add(world.db, world.settings, world.account, f"slack:{name}", verified=True)


def check(world: Pipeline) -> bool:
    return recovery.probe_transport(world.db, world.settings, SecretBox(world.settings.secret_keys))


def oracle(world: Pipeline) -> audit.Audit:
    with world.db.transaction() as tx:
        return audit.audit(tx, world.now() + timedelta(hours=1))


# ── together, once, with reasons ──────────────────────────────────────────────────────────────────────────────


def test_an_announcement_is_one_mail_with_each_paper_once_and_all_its_reasons(world: Pipeline) -> None:
    world.subscribe("Planning", query="planning")
    world.subscribe("Agents", interest="agent")
    world.run(entry(AGENTS, 1), entry(ROBOTS, 2))
    (row,) = world.deliveries()
    assert (row["state"], row["kind"]) == ("sent", "message")
    (mail,) = world.mails()
    assert "Planning" in mail
    assert "Agents" in mail
    with world.db.transaction() as tx:
        assert sorted(deliveries.list_all(tx)[0].papers) == sorted([world.paper(AGENTS), world.paper(ROBOTS)])
    assert oracle(world).clean


def test_the_same_listing_again_delivers_nothing(world: Pipeline) -> None:
    world.subscribe(query="planning")
    world.run(entry(AGENTS, 1))
    world.run(entry(AGENTS, 1))
    assert len(world.deliveries()) == 1


def test_each_channel_concerned_gets_its_own_message(world: Pipeline, slack: HttpSink) -> None:
    world.subscribe("Mail", query="planning")
    world.subscribe("Slack", query="robot", to=[on_slack(world)])
    world.run(entry(AGENTS, 1), entry(ROBOTS, 2))
    assert [row["state"] for row in world.deliveries() if row["kind"] == "message"] == ["sent", "sent"]
    assert len(slack.to(POST)) == 1
    assert len(world.mails()) == 1


def test_a_later_match_of_a_paper_on_the_same_channel_comes_not_again(world: Pipeline) -> None:
    world.subscribe("First", query="planning")
    world.run(entry(AGENTS, 1))
    world.subscribe("Later", query="planning", sources=("arxiv",))
    world.announce(entry(AGENTS, 1), source="arxiv")
    world.embed_and_match()
    world.notify()
    world.deliver()
    assert len(world.matches()) == 2
    assert len(world.deliveries()) == 1


def test_a_group_waits_until_its_announcement_is_matched(world: Pipeline) -> None:
    world.subscribe(query="planning")
    world.announce(entry(AGENTS, 1))
    world.embed_and_match()
    with world.db.transaction() as tx:
        tx.execute(update(run).values(matched_at=None))
    world.notify()
    assert world.items() == []
    with world.db.transaction() as tx:
        tx.execute(update(match).values(created_at=world.now() - timedelta(minutes=3)))
    world.notify()
    assert len(world.items()) == 1


# ── digests ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_further_immediate_match_brings_a_waiting_paper_forward(world: Pipeline) -> None:
    world.subscribe("Daily", query="planning", cadence="daily")
    world.announce(entry(AGENTS, 1))
    world.embed_and_match()
    world.notify()
    world.subscribe("Now", query="planning", sources=("arxiv",))
    world.announce(entry(AGENTS, 1), source="arxiv")
    world.embed_and_match()
    world.notify()
    world.deliver()
    (row,) = world.deliveries()
    assert row["kind"] == "message"


def test_a_paused_subscription_holds_its_papers(world: Pipeline) -> None:
    one = world.subscribe(query="planning")
    with world.db.transaction() as tx:
        subscriptions.pause(tx, one, world.account, world.now() + timedelta(days=9))
    world.run(entry(AGENTS, 1))
    assert world.deliveries() == []
    assert world.items()[0]["not_before"] > world.now() + timedelta(days=8)


# ── what falls out ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_subscription_deleted_before_sending_takes_its_papers_along(world: Pipeline) -> None:
    gone = world.subscribe("Gone", query="agent")
    world.subscribe("Kept", query="robot")
    world.announce(entry(AGENTS, 1), entry(ROBOTS, 2))
    world.embed_and_match()
    world.notify()
    gather_due(world.db, world.settings)
    with world.db.transaction() as tx:
        subscriptions.remove(tx, gone, world.account)
    world.deliver()
    (mail,) = world.mails()
    assert "robot" in mail
    assert "agent planning" not in mail


def test_a_withdrawn_paper_is_not_sent(world: Pipeline) -> None:
    world.subscribe(query="planning")
    world.announce(entry(AGENTS, 1))
    world.embed_and_match()
    world.notify()
    with world.db.transaction() as tx:
        tx.execute(update(paper).values(withdrawn=True))
    world.deliver()
    assert world.deliveries() == []
    assert world.items()[0]["dropped_because"] == "the paper was withdrawn"


def test_nothing_left_to_say_is_cancelled(world: Pipeline) -> None:
    one = world.subscribe(query="planning")
    world.announce(entry(AGENTS, 1))
    world.embed_and_match()
    world.notify()
    gather_due(world.db, world.settings)
    with world.db.transaction() as tx:
        subscriptions.remove(tx, one, world.account)
    world.deliver()
    assert [row["state"] for row in world.deliveries()] == ["cancelled"]
    assert world.mails() == []


def test_a_channel_removed_between_claim_and_sending_gets_nothing(world: Pipeline, smtp: SmtpSink) -> None:
    world.subscribe(query="planning")
    world.announce(entry(AGENTS, 1))
    world.embed_and_match()
    world.notify()
    gather_due(world.db, world.settings)

    claimed = world.claim()
    with world.db.transaction() as tx:
        ended_channels.remove(tx, claimed.channel.id)
    with pytest.raises(LeaseLost):
        world.commit(claimed)
    assert [row["state"] for row in world.deliveries()] == ["cancelled"]
    assert smtp.mails == []


# ── refusals, doubts, outages ─────────────────────────────────────────────────────────────────────────────────


def test_an_unreachable_mail_server_holds_everything_and_burns_nothing(world: Pipeline, configure: Configure) -> None:
    with refused_port() as port:
        configure(smtp_url=f"smtp://127.0.0.1:{port}")
        world.subscribe(query="planning")
        world.run(entry(AGENTS, 1))
        (row,) = world.deliveries()
        assert (row["state"], row["attempt"]) == ("pending", 0)
        assert row["error"]
        with world.db.transaction() as tx:
            assert channels.all_of(tx)[0].down_because
        world.make_due(transport, check_at=timedelta(hours=1))
        assert check(world)
        world.deliver()
        assert world.deliveries()[0]["state"] == "pending"
    with SmtpSink() as sink:
        configure(smtp_url=sink.url)
        world.make_due(transport, check_at=timedelta(hours=1))
        assert check(world)
        world.deliver()
        assert len(sink.mails) == 1
    assert world.deliveries()[0]["state"] == "sent"


def test_a_transient_refusal_is_tried_again(world: Pipeline, smtp: SmtpSink) -> None:
    smtp.script("RCPT", "451 4.7.1 greylisted")
    world.subscribe(query="planning")
    world.run(entry(AGENTS, 1))
    assert [row["state"] for row in world.deliveries()] == ["pending"]
    world.make_due(delivery, next_attempt_at=timedelta(minutes=5))
    world.deliver()
    assert (world.deliveries()[0]["state"], len(smtp.mails)) == ("sent", 1)


def test_several_refused_mails_in_a_row_stop_the_channel(world: Pipeline, smtp: SmtpSink) -> None:
    smtp.always("RCPT", "550 5.1.0 sender rejected")
    world.subscribe(query="planning")
    for number in range(1, REFUSALS_IN_A_ROW + 1):
        with world.db.transaction() as tx:
            assert channels.find(tx, world.email).disabled_because == ""
        world.run(entry(f"Paper {number} about planning", number))
    with world.db.transaction() as tx:
        because = channels.find(tx, world.email).disabled_because
    assert because == f"{REFUSALS_IN_A_ROW} mails in a row were refused, the last one with: 550 5.1.0 sender rejected"


@pytest.mark.parametrize("code", ["5.7.1", "5.6.0"])
def test_the_owner_hears_of_a_dead_mail_on_another_channel_and_the_operator_of_a_policy(
    world: Pipeline, smtp: SmtpSink, code: str
) -> None:
    with world.db.transaction() as tx:
        boss = accounts.add(tx, "boss@example.org", "UTC", operator=True)
    of_boss = channel_commands.find_or_add(world.db, world.settings, boss, "email:boss@example.org", verified=True)
    other = channel_commands.find_or_add(world.db, world.settings, world.account, "email:b@example.org", verified=True)
    smtp.script("RCPT", f"550 {code} no")
    world.subscribe(query="planning")
    world.run(entry(AGENTS, 1))
    notices = {row["channel_id"]: row["subject"] for row in world.deliveries() if row["kind"] == "notice"}
    assert notices.pop(other) == f"A message to email ada@example.org was given up: 550 {code} no"
    assert notices == ({of_boss: "A mail server refuses mails by its policy: 550 5.7.1 no"} if code == "5.7.1" else {})


def test_the_owner_hears_of_a_dead_mail_in_slack(world: Pipeline, smtp: SmtpSink, slack: HttpSink) -> None:
    on_slack(world)
    smtp.script("RCPT", "550 5.6.0 no")
    world.subscribe(query="planning")
    world.run(entry(AGENTS, 1))
    world.deliver()
    (post,) = slack.to(POST)
    assert b"was given up: 550 5.6.0 no" in post.body


def test_silence_after_the_final_dot_is_repeated_once_with_the_same_bytes(world: Pipeline, smtp: SmtpSink) -> None:
    smtp.always(".", "CLOSE")
    world.subscribe(query="planning")
    world.run(entry(AGENTS, 1))
    assert world.deliveries()[0]["state"] == "uncertain"
    for _ in range(3):
        world.make_due(delivery, next_attempt_at=timedelta(hours=1))
        world.deliver()
    (row,) = world.deliveries()
    assert (row["state"], row["next_attempt_at"]) == ("uncertain", None)
    first, second = smtp.mails
    assert first.body == second.body
    assert oracle(world).uncertain_spent == 1


def test_a_wrong_slack_token_holds_its_channels_until_it_works(world: Pipeline, slack: HttpSink) -> None:
    slack.script(POST, Answer(body='{"ok": false, "error": "invalid_auth"}'))
    slack.script("/auth.test", Answer(body='{"ok": false, "error": "invalid_auth"}'), Answer(body='{"ok": true}'))
    world.subscribe(query="planning", to=[on_slack(world)])
    world.run(entry(AGENTS, 1))
    assert (world.deliveries()[0]["state"], world.deliveries()[0]["attempt"]) == ("pending", 0)
    for _ in range(2):
        world.make_due(transport, check_at=timedelta(hours=1))
        world.make_due(rate_limit, available_at=timedelta(minutes=1))
        assert check(world)
        world.deliver()
    assert world.deliveries()[0]["state"] == "sent"


def failures(world: Pipeline) -> list[int]:
    return [row["failures"] for row in world.rows(select(transport))]


def test_a_delivery_whose_outage_no_probe_confirms_does_not_stop_the_transport_again(
    world: Pipeline, slack: HttpSink
) -> None:
    refused = Answer(body='{"ok": false, "error": "org_login_required"}')
    slack.script(POST, refused, refused)
    slack.always("/auth.test", Answer(body='{"ok": true}'))
    world.subscribe(query="planning", to=[on_slack(world)])
    world.run(entry(AGENTS, 1))
    assert failures(world) == [1]
    for _ in range(2):
        world.make_due(transport, check_at=timedelta(hours=1))
        world.make_due(rate_limit, available_at=timedelta(minutes=1))
        check(world)
        world.deliver()
    (row,) = world.rows(select(transport))
    assert (row["down_because"], row["failures"]) == ("", 1)
    assert world.deliveries()[0]["state"] == "pending"
    assert world.deliveries()[0]["next_attempt_at"] > world.now()
    world.make_due(delivery, next_attempt_at=timedelta(hours=1))
    world.make_due(rate_limit, available_at=timedelta(minutes=1))
    world.deliver()
    assert world.deliveries()[0]["state"] == "sent"
    assert failures(world) == [0]


def test_a_confirmed_outage_may_come_again_from_the_same_delivery(world: Pipeline, slack: HttpSink) -> None:
    refused = Answer(body='{"ok": false, "error": "invalid_auth"}')
    slack.script(POST, refused, refused)
    slack.script("/auth.test", refused, Answer(body='{"ok": true}'))
    world.subscribe(query="planning", to=[on_slack(world)])
    world.run(entry(AGENTS, 1))
    for _ in range(2):
        world.make_due(transport, check_at=timedelta(hours=1))
        world.make_due(rate_limit, available_at=timedelta(minutes=1))
        assert check(world)
        world.deliver()
    assert failures(world) == [3]
    assert world.rows(select(transport))[0]["down_because"] != ""


def test_a_channel_that_does_not_exist_is_disabled_and_goes_on_when_enabled(world: Pipeline, slack: HttpSink) -> None:
    slack.script(POST, Answer(body='{"ok": false, "error": "channel_not_found"}'))
    where = on_slack(world)
    world.subscribe(query="planning", to=[where])
    world.run(entry(AGENTS, 1))
    assert "channel_not_found" in world.rows(select(channel).where(channel.c.id == where))[0]["disabled_because"]
    world.deliver()
    assert len(slack.to(POST)) == 1
    with world.db.transaction() as tx:
        channels.enable(tx, where)
    world.make_due(rate_limit, available_at=timedelta(minutes=1))
    world.deliver()
    assert world.deliveries()[0]["state"] == "sent"


def test_a_rate_limit_is_kept_and_other_channels_flow(world: Pipeline, slack: HttpSink) -> None:
    slack.script(
        POST, Answer(status=429, headers={"Retry-After": "3600"}, body='{"ok": false, "error": "ratelimited"}')
    )
    world.subscribe("Slack", query="planning", to=[on_slack(world)])
    world.subscribe("Mail", query="planning")
    world.run(entry(AGENTS, 1))
    states = {row["channel_id"]: row for row in world.deliveries()}
    slow = next(row for row in states.values() if row["state"] == "pending")
    assert slow["next_attempt_at"] > world.now() + timedelta(minutes=59)
    assert [row["state"] for row in states.values()].count("sent") == 1


def test_a_worker_lost_before_sending_costs_nothing(world: Pipeline) -> None:
    world.subscribe(query="planning")
    world.announce(entry(AGENTS, 1))
    world.embed_and_match()
    world.notify()
    gather_due(world.db, world.settings)
    world.claim()
    world.deliver()
    assert world.deliveries()[0]["state"] == "claimed"
    world.expire_leases()
    assert recovery.end_expired_lease(world.db, world.settings)
    world.deliver()
    assert world.deliveries()[0]["state"] == "sent"
    assert len(world.mails()) == 1


def test_a_test_message_goes_out_without_papers(world: Pipeline) -> None:
    with world.db.transaction() as tx:
        where = channels.find(tx, world.email)
        assert deliveries.create(tx, new_test(where.account_id, where.id), "localhost")
    world.deliver()
    assert world.deliveries()[0]["state"] == "sent"


def test_what_a_pause_held_back_comes_when_it_ends_early(world: Pipeline) -> None:
    one = world.subscribe(query="planning")
    with world.db.transaction() as tx:
        subscriptions.pause(tx, one, world.account, world.now() + timedelta(days=9))
    world.run(entry(AGENTS, 1))
    with world.db.transaction() as tx:
        subscriptions.pause(tx, one, world.account, None)
    world.notify()
    world.deliver()
    assert [row["state"] for row in world.deliveries()] == ["sent"]


def test_each_paper_of_a_mail_links_its_vote_and_its_page(world: Pipeline) -> None:
    own = world.subscribe(query="planning")
    world.run(entry("One paper about agent planning", 1))
    (mail,) = world.mails()
    text = mail.replace("=\n", "").replace("=3D", "=")
    paper = world.paper("One paper about agent planning")
    assert f"{world.settings.base_url}/vote/{own}-{paper}-" in text
    assert f"{world.settings.base_url}/papers/{paper}" in text
