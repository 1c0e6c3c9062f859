from tests.web.conftest import Browser, Site


def test_a_vote_on_an_interest_is_an_example_until_it_is_taken_back(site: Site, ada: Browser) -> None:
    own = site.subscription(site.ada, query="", interest="robots that learn", volume="5/week")
    paper = site.paper("Robots")
    fields = {"subscription": own, "paper": paper, "back": "/matches"}
    answer = ada.post("/votes", {**fields, "verdict": "less"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/matches")
    assert site.sql("SELECT verdict FROM feedback") == [("less",)]
    assert site.sql("SELECT paper_id, liked FROM interest_example") == [(paper, False)]
    assert ada.post("/votes", {**fields, "verdict": "more"}).status_code == 303
    assert site.sql("SELECT verdict, liked FROM feedback, interest_example") == [("more", True)]
    ada.post("/votes", {**fields, "verdict": "none"})
    assert site.sql("SELECT * FROM feedback") == site.sql("SELECT * FROM interest_example") == []


def test_a_vote_changes_the_weights_at_once(site: Site, ada: Browser) -> None:
    own = site.subscription(site.ada, query="", interest="robots that learn", volume="5/week")
    (before,) = site.sql("SELECT weights, revision FROM subscription")
    ada.post("/votes", {"subscription": own, "paper": site.paper("Language models"), "verdict": "less"})
    (after,) = site.sql("SELECT weights, revision FROM subscription")
    assert after[0] is not None
    assert after != before


def test_a_vote_on_a_query_is_stored_and_changes_nothing_else(site: Site, ada: Browser) -> None:
    own = site.subscription(site.ada, query="robots")
    before = site.sql("SELECT revision FROM subscription")
    assert (
        ada.post("/votes", {"subscription": own, "paper": site.paper("Robots"), "verdict": "less"}).status_code == 303
    )
    assert site.sql("SELECT verdict FROM feedback") == [("less",)]
    assert site.sql("SELECT * FROM interest_example") == []
    assert site.sql("SELECT revision FROM subscription") == before


def test_htmx_gets_the_buttons_with_the_vote_pressed(site: Site, ada: Browser) -> None:
    own = site.subscription(site.ada)
    fields = {"subscription": own, "paper": site.paper("Robots"), "verdict": "more"}
    answer = ada.post("/votes", fields, **{"HX-Request": "true"})
    assert answer.text.count('aria-pressed="true"') == 1
    assert 'value="none" aria-pressed="true"' in answer.text


def test_the_only_example_of_an_interest_stays(site: Site, ada: Browser) -> None:
    paper = site.paper("Robots")
    own = site.subscription(site.ada, query="", liked=(paper,), volume="5/week")
    answer = ada.post("/votes", {"subscription": own, "paper": paper, "verdict": "none"})
    assert answer.status_code == 400
    assert "only example" in answer.text
    assert site.sql("SELECT liked FROM interest_example") == [(True,)]


def test_a_vote_for_the_subscription_of_another_account_or_on_no_paper_is_refused(site: Site, ben: Browser) -> None:
    hers, his, paper = site.subscription(site.ada), site.subscription(site.ben), site.paper("Robots")
    assert ben.post("/votes", {"subscription": hers, "paper": paper, "verdict": "more"}).status_code == 404
    assert ben.post("/votes", {"subscription": his, "paper": 999, "verdict": "more"}).status_code == 404
    for wrong in ({"verdict": "most"}, {"verdict": ""}, {"paper": "", "verdict": "more"}):
        assert ben.post("/votes", {"subscription": his, "paper": paper, **wrong}).status_code == 422
    assert site.sql("SELECT * FROM feedback") == []
