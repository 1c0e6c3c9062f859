"""Votes from a mail: a signed link that asks before it acts."""

import re
from datetime import timedelta

import pytest

from services.domain.interests.calibration import CompiledInterest
from services.errors import EmbedderError
from services.flow import vote_links
from services.flow.commands import compile_interest
from tests.web.conftest import Browser, Site, text_of


def link(site: Site, subscription: int, paper: int, age: timedelta = timedelta(0)) -> str:
    secrets = site.app.state.context.secrets
    return f"/vote/{vote_links.token(secrets, subscription, paper, site.db.now() - age)}"


def test_opening_the_link_changes_nothing_and_a_button_votes(site: Site) -> None:
    own = site.subscription(site.ada, query="", interest="robots that learn", volume="5/week")
    paper, nobody = site.paper("Robots"), site.browser()
    path = link(site, own, paper)
    asked = nobody.get(path)
    assert "Robots" in text_of(asked)
    assert site.sql("SELECT * FROM feedback") == []
    assert "set-cookie" not in asked.headers
    answer = nobody.client.post(f"{path}/less")
    assert "Noted: less like this. The subscription has learned it" in text_of(answer)
    assert site.sql("SELECT verdict FROM feedback") == [("less",)]
    assert "Noted: more" in text_of(nobody.client.post(f"{path}/more"))
    assert "taken back" in text_of(nobody.client.post(f"{path}/none"))
    assert site.sql("SELECT * FROM feedback") == site.sql("SELECT * FROM interest_example") == []


def test_a_vote_on_a_query_says_that_it_changes_nothing_by_itself(site: Site) -> None:
    path = link(site, site.subscription(site.ada), site.paper("Robots"))
    assert "changes nothing by itself" in text_of(site.browser().client.post(f"{path}/less"))


@pytest.mark.parametrize("change", ["0", "9", "x", "expired", "deleted"])
def test_a_forged_or_expired_link_and_a_deleted_subscription_are_not_found(site: Site, change: str) -> None:
    own, paper = site.subscription(site.ada), site.paper("Robots")
    path = link(site, own, paper, timedelta(days=31 if change == "expired" else 0))
    if change in ("0", "9", "x"):
        path = path[:-1] + (change if path[-1] != change else "1")
    if change == "deleted":
        site.sql(f"UPDATE subscription SET deleted_at = now() WHERE id = {own}")
    client = site.browser().client
    assert client.get(path).status_code == client.post(f"{path}/more").status_code == 404
    assert site.sql("SELECT * FROM feedback") == []


def test_a_vote_is_more_less_or_none(site: Site) -> None:
    path = link(site, site.subscription(site.ada), site.paper("Robots"))
    assert site.browser().client.post(f"{path}/most").status_code == 404


def test_the_only_example_stays_and_the_page_says_why(site: Site) -> None:
    paper = site.paper("Robots")
    own = site.subscription(site.ada, query="", liked=(paper,), volume="5/week")
    answer = site.browser().client.post(f"{link(site, own, paper)}/none")
    assert (answer.status_code, "only example" in text_of(answer)) == (422, True)


def test_a_vote_while_the_embedder_fails_is_learned_later(
    site: Site, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = site.subscription(site.ada, query="", interest="robots that learn", volume="5/week")

    def fail(*_: object) -> CompiledInterest:
        return CompiledInterest(failed=EmbedderError("no answer"))

    monkeypatch.setattr(compile_interest, "compile", fail)
    assert (
        ada.post("/votes", {"subscription": own, "paper": site.paper("Robots"), "verdict": "less"}).status_code == 303
    )
    assert site.sql("SELECT verdict FROM feedback") == [("less",)]
    assert site.sql("SELECT examples_changed, calibrated_at FROM subscription") == [(True, None)]


def test_the_link_has_only_characters_that_mail_programs_keep(site: Site) -> None:
    assert re.fullmatch(r"/vote/[0-9]+-[0-9]+-[0-9]+-[0-9a-f]{40}", link(site, 1, 2))
