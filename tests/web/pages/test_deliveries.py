"""What was sent, and another try for what failed."""

import pytest

from services import plugins
from tests.support.digests import ENVELOPE, digest
from tests.web.conftest import Browser, Site, text_of


def deliver(site: Site, state: str, error: str = "", due: str = "NULL") -> int:
    channel = site.channel(site.ada, "email:ada@example.org")
    site.sql(
        "INSERT INTO delivery"
        " (account_id, channel_id, kind, idem_key, message_id, state, error, subject, next_attempt_at)"
        f" VALUES ({site.ada}, {channel}, 'digest', 'k', '<m@x>', '{state}', '{error}', 'Three papers', {due})"
    )
    return int(site.sql("SELECT max(id) FROM delivery")[0][0])


def test_nothing_sent_yet_says_what_to_do(ada: Browser) -> None:
    assert "Nothing was sent yet" in text_of(ada.get("/deliveries"))


def test_a_delivery_shows_state_error_and_papers(site: Site, ada: Browser) -> None:
    one = deliver(site, "dead", "550 no such user")
    paper = site.paper("A paper in it")
    site.sql(
        "INSERT INTO delivery_item (account_id, channel_id, paper_id, not_before, cadence, delivery_id)"
        f" SELECT account_id, channel_id, {paper}, now(), 'daily', id FROM delivery"
    )
    page = text_of(ada.get("/deliveries"))
    for words in ("Three papers", "ada@example.org", "dead", "550 no such user", "1"):
        assert words in page
    assert "A paper in it" in ada.get(f"/deliveries/{one}").text


@pytest.mark.parametrize("state", ["dead", "uncertain"])
def test_what_failed_for_good_is_tried_again(site: Site, ada: Browser, state: str) -> None:
    one = deliver(site, state)
    assert f"/deliveries/{one}/retry" in ada.get("/deliveries").text
    assert ada.post(f"/deliveries/{one}/retry").status_code == 303
    assert site.sql("SELECT state, next_attempt_at IS NOT NULL FROM delivery") == [("pending", True)]


@pytest.mark.parametrize(("state", "due"), [("sent", "NULL"), ("sending", "NULL"), ("uncertain", "now()")])
def test_nothing_else_is_sent_twice(site: Site, ada: Browser, state: str, due: str) -> None:
    one = deliver(site, state, due=due)
    assert "/retry" not in ada.get("/deliveries").text
    assert ada.post(f"/deliveries/{one}/retry").status_code == 409
    assert site.sql("SELECT state FROM delivery") == [(state,)]


def rendered(site: Site, word: str, kind: str, body: bytes) -> int:
    channel = site.channel(site.ada, word)
    site.sql(
        "INSERT INTO delivery (account_id, channel_id, kind, idem_key, message_id, state, rendered)"
        f" VALUES ({site.ada}, {channel}, '{kind}', 'k', '<m@x>', 'sent', '\\x{body.hex()}')"
    )
    return int(site.sql("SELECT max(id) FROM delivery")[0][0])


@pytest.mark.parametrize("word", ["slack:#papers", "webhook:https://example.org/hook", "email:ada@example.org"])
def test_a_message_is_shown_as_it_was_rendered_in_a_frame_that_runs_nothing(
    site: Site, ada: Browser, word: str
) -> None:
    plugin = plugins.notifier(word.partition(":")[0])
    target = plugin.parse_target(word.partition(":")[2])
    one = rendered(site, word, "digest", plugin.render(digest(3), ENVELOPE, target))
    assert f"/deliveries/{one}/message" in ada.get(f"/deliveries/{one}").text
    shown = ada.get(f"/deliveries/{one}/message")
    assert "sandbox" in shown.headers["content-security-policy"]
    assert "Scaling Diffusion Transformers Efficiently via μP" in text_of(shown)
    assert "Diffusion models" in text_of(shown)


def test_what_asks_an_address_is_for_its_owner_alone(site: Site, ada: Browser) -> None:
    one = rendered(site, "email:ada@example.org", "confirm", b"Subject: x\n\nhttps://papers.example.org/confirm/key")
    assert "/message" not in ada.get(f"/deliveries/{one}").text
    assert ada.get(f"/deliveries/{one}/message").status_code == 404


def test_operators_see_that_returned_mails_cannot_be_read(site: Site, ada: Browser, ben: Browser) -> None:
    site.sql("INSERT INTO transport (key, down_because) VALUES ('bounces', 'the server <b>refuses</b> the sign-in')")
    assert "Returned mails cannot be read: the server <b>" not in ada.get("/deliveries").text
    assert "cannot be read: the server &lt;b&gt;refuses" in ada.get("/deliveries").text
    assert "Returned mails" not in text_of(ben.get("/deliveries"))
    assert "paperwire_bounces_unread 1.0" in site.browser().get("/metrics").text
    site.sql("UPDATE transport SET down_because = ''")
    assert "Returned mails" not in text_of(ada.get("/deliveries"))
    assert "paperwire_bounces_unread 0.0" in site.browser().get("/metrics").text
