"""The page of operators that lists all accounts."""

from tests.web.conftest import Browser, Site, text_of


def operators(site: Site) -> list[int]:
    return [int(id) for (id,) in site.sql("SELECT id FROM account WHERE operator ORDER BY id")]


def test_operators_see_every_account_with_its_use(site: Site, ada: Browser) -> None:
    site.subscription(site.ben, site.channel(site.ben, "email:ben@example.org"))
    page = text_of(ada.get("/members"))
    assert "ada@example.org operator you" in page
    assert "ben@example.org today, " in page
    assert "never 1 " in page


def test_others_do_not_see_the_page(ben: Browser) -> None:
    assert ben.get("/members").status_code == 404
    assert "/members" not in ben.get("/account").text


def test_an_account_becomes_an_operators_and_an_ordinary_one_again(site: Site, ada: Browser, ben: Browser) -> None:
    assert ada.post(f"/members/{site.ben}/operator", {"operator": "on"}).status_code == 303
    assert operators(site) == [site.ada, site.ben]
    assert ben.get("/members").status_code == 200
    assert ada.post(f"/members/{site.ben}/operator").status_code == 303
    assert operators(site) == [site.ada]


def test_the_last_operator_stays(site: Site, ada: Browser) -> None:
    for step in ("operator", "delete"):
        answer = ada.post(f"/members/{site.ada}/{step}")
        assert answer.status_code == 422
        assert "last operator" in text_of(answer)
    assert operators(site) == [site.ada]


def test_an_operator_signs_an_account_out_everywhere(site: Site, ada: Browser, ben: Browser) -> None:
    assert ada.post(f"/members/{site.ben}/sign-out").status_code == 303
    assert ben.get("/account").status_code == 303
    assert ada.get("/account").status_code == 200


def test_an_operator_deletes_an_account_after_a_question(site: Site, ada: Browser, ben: Browser) -> None:
    site.subscription(site.ben, site.channel(site.ben, "email:ben@example.org"))
    assert "ben@example.org" in text_of(ada.get(f"/members/{site.ben}/delete"))
    assert site.sql("SELECT count(*) FROM account") == [(2,)]
    assert ada.post(f"/members/{site.ben}/delete").status_code == 303
    assert site.sql("SELECT id FROM account") == [(site.ada,)]
    assert site.sql("SELECT count(*) FROM subscription") == [(0,)]
    assert ben.get("/account").status_code == 303
    assert ada.post(f"/members/{site.ben}/delete").status_code == 404
