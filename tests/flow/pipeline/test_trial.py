"""A trial digest: the papers of a preview in a mail, which no subscription has matched."""

from services.domain.digests.trial import Trial
from services.flow.commands import resend
from tests.support.world import Pipeline, entry


def trial(world: Pipeline, *titles: str) -> Trial:
    papers = {world.paper(title): f"because of {title}" for title in titles}
    return Trial(name="Heat", query="diffusion", interest="", papers=papers)


def test_a_trial_is_a_digest_of_the_papers_with_their_reasons(world: Pipeline) -> None:
    world.announce(entry("Diffusion agents", 1), entry("Diffusion cats", 2))
    resend.send_test(world.db, world.settings, world.email, world.account, trial(world, "Diffusion agents"))
    world.deliver()
    (mail,) = world.mails()
    assert "Subject: Trial: 1 paper on" in mail
    assert "because of Diffusion agents" in mail
    assert "cats" not in mail
    assert "It changes nothing" in mail
    assert world.items() == []
    world.subscribe("Real", query="diffusion")
    world.run(entry("Diffusion dogs", 3))
    assert len(world.mails()) == 2


def test_a_paper_that_is_gone_is_left_out(world: Pipeline) -> None:
    world.announce(entry("Diffusion agents", 1))
    asked = trial(world, "Diffusion agents")
    asked = Trial(name=asked.name, query="(", interest="", papers={**asked.papers, 999: "gone"})
    resend.send_test(world.db, world.settings, world.email, world.account, asked)
    world.deliver()
    (mail,) = world.mails()
    assert "Trial: 1 paper on" in mail
