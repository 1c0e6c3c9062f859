from datetime import UTC, datetime, timedelta

from tests.web.conftest import Browser, Site, text_of

SOON = (datetime.now(UTC).date() + timedelta(days=9)).isoformat()


def test_a_silence_is_added_shown_and_ended(site: Site, ada: Browser) -> None:
    own = site.subscription(site.ada, name="Robots")
    fields = {"query": "survey OR benchmark", "subscription": str(own), "until": SOON}
    answer = ada.post("/silences", fields)
    assert answer.headers["location"].startswith("/silences?flash=silenced")
    page = text_of(ada.get("/silences"))
    assert "survey OR benchmark of Robots , until" in page
    assert ada.post("/silences/1/end").status_code == 303
    assert "Nothing is silenced." in text_of(ada.get("/silences"))
    assert ada.post("/silences/1/end").status_code == 404


def test_an_invalid_form_keeps_the_typed_values(site: Site, ada: Browser) -> None:
    for fields, texts in (
        ({"query": "(robots", "until": SOON}, "never closed"),
        ({"query": "robots", "until": "2020-01-01"}, "still to come"),
        ({"query": "robots", "until": ""}, "Enter the day on which the silence ends"),
    ):
        answer = ada.post("/silences", fields)
        assert answer.status_code == 422
        assert texts in text_of(answer)
        assert f'value="{fields["query"]}"' in answer.text


def test_an_empty_form_silences_nothing(site: Site, ada: Browser) -> None:
    answer = ada.post("/silences", {"until": SOON})
    assert answer.status_code == 422
    assert "Choose what to silence" in text_of(answer)
    assert site.sql("SELECT * FROM silence") == []
    assert ada.post("/silences", {"until": SOON, "everything": "on"}).status_code == 303
    assert site.sql("SELECT query, subscription_id FROM silence") == [("", None)]


def test_a_silence_says_what_it_would_have_dropped_before_it_begins(site: Site, ada: Browser) -> None:
    own, other = site.subscription(site.ada), site.subscription(site.ada)
    for number, title in enumerate(["A survey", "Robots"], 1):
        site.match(site.ada, own, site.paper(title, number))
    fields = {"until": SOON, "everything": "on"}
    answer = ada.post("/silences", fields)
    assert answer.status_code == 200
    assert "would have dropped 2 papers" in text_of(answer)
    assert "1 paper of" in text_of(ada.post("/silences", {"until": SOON, "query": "survey"}))
    assert site.sql("SELECT * FROM silence") == []
    assert ada.post("/silences", {"until": SOON, "subscription": str(other)}).status_code == 303
    assert ada.post("/silences", {**fields, "confirmed": "on"}).status_code == 303


def test_a_subscription_of_another_account_cannot_be_silenced(site: Site, ben: Browser) -> None:
    hers = site.subscription(site.ada)
    assert ben.post("/silences", {"subscription": str(hers), "until": SOON}).status_code == 404
    assert site.sql("SELECT * FROM silence") == []
