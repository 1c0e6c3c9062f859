import json

import pytest

from services.domain.digests import samples
from tests.web.conftest import Browser, Site, text_of


@pytest.mark.parametrize("name", samples.messages())
def test_every_message_can_be_looked_at_in_every_form(site: Site, ada: Browser, name: str) -> None:
    message = samples.messages()[name]
    for form in ("html", "text", "slack"):
        page = ada.get(f"/templates?name={name}&show={form}")
        assert page.status_code == 200
        assert " ".join(message.title.split())[:40] in text_of(page).replace("&#39;", "'")
    mail = ada.get(f"/templates/{name}/html")
    assert "sandbox" in mail.headers["Content-Security-Policy"]
    assert mail.text.startswith("<!DOCTYPE html>")
    assert len(mail.content) < 100_000


def test_slack_is_shown_as_it_is_sent(site: Site, ada: Browser) -> None:
    page = ada.get("/templates?name=digest&show=slack").text
    shown = page.partition("<pre")[2].partition(">")[2].partition("</pre>")[0]
    body = json.loads(
        shown.replace("&#34;", '"')
        .replace("&#39;", "'")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
    )
    assert body["blocks"][0]["type"] == "header"


def test_the_long_one_says_how_many_more_there_are() -> None:
    assert samples.messages()["long"].more == 12


def test_there_is_no_other_template(site: Site, ada: Browser, ben: Browser) -> None:
    assert ada.get("/templates?name=other").status_code == 404
    assert ada.get("/templates/other/html").status_code == 404
    assert ben.get("/templates").status_code == 404
