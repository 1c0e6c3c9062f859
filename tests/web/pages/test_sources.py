"""Sources: every account sees them, operators add, poll and remove them."""

import pytest

from tests.web.conftest import Browser, Site, text_of


def test_an_operator_adds_polls_and_removes(site: Site, ada: Browser) -> None:
    fields = {"kind": "feed", "location": "https://example.org/feed.xml", "minutes": "30"}
    assert ada.post("/sources", fields).status_code == 303
    ((source_id, minutes),) = site.sql("SELECT id, extract(epoch FROM every)::int / 60 FROM source WHERE polled")
    assert minutes == 30
    site.sql("UPDATE source SET next_poll_at = now() + interval '1 day'")
    ada.post(f"/sources/{source_id}/poll")
    assert site.sql("SELECT next_poll_at <= now() FROM source") == [(True,)]
    assert "example.org/feed.xml" in ada.get(f"/sources/{source_id}/remove").text
    ada.post(f"/sources/{source_id}/remove")
    assert site.sql("SELECT polled FROM source") == [(False,)]
    assert ada.post(f"/sources/{source_id}/poll").status_code == 404


@pytest.mark.parametrize(
    ("fields", "texts"),
    [
        ({"kind": "pigeon"}, "no source kind"),
        ({"kind": "jsonl"}, "only reads saved files"),
        ({"kind": "feed", "location": "not a url"}, ""),
        ({"kind": "arxiv", "location": "cs.LG", "minutes": "1"}, "every 5 minutes"),
        ({"kind": "arxiv", "location": "cs.LG", "minutes": "-5"}, "not a whole number"),
    ],
)
def test_an_invalid_source_is_refused(site: Site, ada: Browser, fields: dict[str, str], texts: str) -> None:
    answer = ada.post("/sources", fields)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert texts in text_of(answer).lower()
    assert site.sql("SELECT * FROM source") == []


def test_every_account_sees_the_last_poll_and_listing(site: Site, ben: Browser) -> None:
    site.sql(
        "INSERT INTO source (kind, location, polled, polled_at, next_poll_at, error, failures) VALUES"
        " ('arxiv', 'cs.LG', true, now() - interval '3 minutes', now() + interval '2 hours', 'HTTP 503', 4)"
    )
    site.sql(
        "INSERT INTO batch (source_id, announced_on, fetched, new, skipped, state, updated_at)"
        " SELECT id, '2026-05-04', 131, 120, 2, 'partial', now() FROM source"
    )
    page = text_of(ben.get("/sources"))
    for words in (
        "cs.LG",
        "3 minutes ago",
        "in 2 hours",
        "131 found, 120 new , 2 skipped",
        "HTTP 503",
        "failed 4 times",
    ):
        assert words.replace(" ,", ",") in page
    assert "Poll now" not in page
    assert "Add a source" not in page


def test_every_account_sees_the_batches_of_a_source(site: Site, ben: Browser) -> None:
    site.sql("INSERT INTO source (kind, location, polled) VALUES ('feed', 'https://a:b@example.org/feed?key=s3', true)")
    site.sql(
        "INSERT INTO batch (source_id, announced_on, announced, fetched, new, skipped, state, note, updated_at)"
        " SELECT id, '2026-05-04', NULL, 131, 120, 2, 'partial', '2 entries could not be read', now() FROM source"
    )
    ((source_id,),) = site.sql("SELECT id FROM source")
    answer = ben.get(f"/sources/{source_id}")
    for words in ("https://example.org/feed", "not stated", "131", "2 entries could not be read"):
        assert words in text_of(answer)
    for secret in ("s3", "a:b"):
        assert secret not in answer.text + ben.get("/sources").text
    assert ben.get(f"/sources/{source_id + 1}").status_code == 404


def test_the_acts_of_operators_leave_a_line_in_the_log(ada: Browser, capsys: pytest.CaptureFixture[str]) -> None:
    ada.post("/sources/7/remove")
    logged = "".join(capsys.readouterr())
    assert "an operator acts" in logged
    assert "/sources/{source_id}/remove" in logged
    assert "'7'" in logged
