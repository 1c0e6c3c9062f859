"""Deleting an account, with seven days to undo it, and disabling one."""

from datetime import timedelta

import pytest

from services.flow.pipeline.deliver import gather
from services.flow.upkeep import retention
from services.store.accounts import credentials, members, sessions
from services.store.db.tables import metadata
from services.store.delivery import channels
from services.store.subscriptions import atom_feeds, subscriptions
from tests.web.conftest import Browser, Site, text_of
from tests.web.mailed_links import is_signed_in, key_of, mailed_path, mails, send_mails


def clean_up(site: Site) -> None:
    site.sql("DELETE FROM rate_limit")
    while retention.work(site.db, site.settings):
        pass


def wait_for_papers(site: Site) -> None:
    """A paper is due on Ben's channel at once."""
    channel = site.channel(site.ben, "email:ben@example.org")
    site.subscription(site.ben, channel, cadence="immediate")
    paper = site.paper("A diffusion model")
    site.sql(
        "INSERT INTO delivery_item (account_id, channel_id, paper_id, not_before, cadence)"
        f" VALUES ({site.ben}, {channel}, {paper}, now(), 'immediate')"
    )


def test_an_account_is_paused_at_once_and_kept_on_request(site: Site, ben: Browser) -> None:
    wait_for_papers(site)
    assert ben.post("/account/deletion", {"email": " Ben@example.org "}).headers["location"] == "/account/deletion"
    assert gather.gather_due(site.db, site.settings) == 0
    for path in ("/subscriptions", "/account", "/channels"):
        assert ben.get(path).headers["location"] == "/account/deletion", path
    page = text_of(ben.get("/account/deletion"))
    assert "is deleted" in page
    assert "Keep the account" in page
    assert ben.post("/channels/1/enable").headers["location"] == "/account/deletion"
    assert ben.post("/account/deletion/undo").status_code == 303
    assert ben.get("/account").status_code == 200
    assert gather.gather_due(site.db, site.settings) == 1


def test_the_account_is_deleted_after_seven_days_with_everything(site: Site, ada: Browser, ben: Browser) -> None:
    wait_for_papers(site)
    site.match(site.ben, 1, 1)
    ben.post("/silences", {"query": "survey", "until": "2999-01-01", "confirmed": "on"})
    ben.post("/account/people/invite", {"email": "carol@example.org"})
    ben.post("/account/deletion", {"email": "ben@example.org"})
    site.sql("UPDATE account SET delete_at = delete_at - interval '6 days 23 hours'")
    clean_up(site)
    assert site.sql("SELECT count(*) FROM account") == [(2,)]
    site.sql("UPDATE account SET delete_at = delete_at - interval '2 hours'")
    clean_up(site)
    assert site.sql("SELECT id FROM account") == [(site.ada,)]
    for table in metadata.sorted_tables:
        if "account_id" in table.c and table.name != "confirmation":
            assert site.sql(f"SELECT count(*) FROM {table.name} WHERE account_id = {site.ben}") == [(0,)], table.name
    assert not is_signed_in(ben)
    assert is_signed_in(ada)


def test_the_way_back_is_seven_days(site: Site, ben: Browser) -> None:
    ben.post("/account/deletion", {"email": "ben@example.org"})
    ((left,),) = site.sql(f"SELECT delete_at - now() FROM account WHERE id = {site.ben}")
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)


@pytest.mark.parametrize("email", ["", "ada@example.org", "yes", "<b>"])
def test_the_address_must_be_typed(site: Site, ben: Browser, email: str) -> None:
    answer = ben.post("/account/deletion", {"email": email})
    assert answer.status_code == 422
    assert "ben@example.org" in text_of(answer)
    assert "<b>" not in answer.text
    assert site.sql("SELECT count(*) FROM account WHERE delete_at IS NOT NULL") == [(0,)]


def test_a_person_signs_in_to_keep_the_account(site: Site, ben: Browser) -> None:
    ben.post("/account/deletion", {"email": "ben@example.org"})
    nobody = site.browser()
    nobody.post("/signin/mail", {"email": "ben@example.org"})
    send_mails(site)
    nobody.post("/signin", {"key": key_of(mailed_path(site))})
    assert nobody.get("/").headers["location"] == "/account/deletion"
    assert "Keep the account" in text_of(nobody.get("/account/deletion"))


def test_only_owners_delete_and_keep(site: Site, ben: Browser) -> None:
    with site.db.transaction() as tx:
        member_id = members.add(tx, site.ben, "carol@example.org", "member")
        carol = Browser(site.app, sessions.start(tx, site.ben, member_id=member_id))
    assert carol.get("/account/deletion").status_code == 403
    assert carol.post("/account/deletion", {"email": "ben@example.org"}).status_code == 403
    ben.post("/account/deletion", {"email": "ben@example.org"})
    assert carol.get("/account/deletion").status_code == 200
    assert carol.post("/account/deletion/undo").status_code == 403
    assert site.sql("SELECT count(*) FROM account WHERE delete_at IS NOT NULL") == [(1,)]


def test_the_last_operator_is_not_deleted(site: Site, ada: Browser) -> None:
    answer = ada.post("/account/deletion", {"email": "ada@example.org"})
    assert answer.status_code == 422
    assert "last operator" in text_of(answer)


def test_keeping_the_account_enables_only_the_channels_that_worked(site: Site, ben: Browser) -> None:
    broken, works = site.channel(site.ben, "slack:#papers"), site.channel(site.ben, "email:ben@example.org")
    with site.db.transaction() as tx:
        channels.disable(tx, broken, "it is archived")
    ben.post("/account/deletion", {"email": "ben@example.org"})
    ben.post("/account/deletion/undo")
    query = "SELECT id, disabled_because FROM channel ORDER BY id"
    assert site.sql(query) == [(broken, "it is archived"), (works, "")]


def test_an_operator_disables_an_account(site: Site, ada: Browser, ben: Browser) -> None:
    wait_for_papers(site)
    nobody = site.browser()
    nobody.post("/signin/mail", {"email": "ben@example.org"})
    send_mails(site)
    key = key_of(mailed_path(site))
    assert ada.post(f"/members/{site.ben}/disable", {"disabled": "on"}).status_code == 303
    assert not is_signed_in(ben)
    assert nobody.post("/signin", {"key": key}).status_code == 403
    nobody.post("/signin/mail", {"email": "ben@example.org"})
    send_mails(site)
    assert len(mails(site)) == 1
    assert gather.gather_due(site.db, site.settings) == 0
    assert "disabled" in text_of(ada.get("/members"))
    assert ada.post(f"/members/{site.ben}/disable").status_code == 303
    assert gather.gather_due(site.db, site.settings) == 1
    nobody.post("/signin/mail", {"email": "ben@example.org"})
    send_mails(site)
    assert nobody.post("/signin", {"key": key_of(mailed_path(site))}).status_code == 303


@pytest.mark.parametrize("column", ["disabled_at", "delete_at"])
def test_tokens_and_feeds_of_a_closed_account_open_nothing(site: Site, column: str) -> None:
    subscription = site.subscription(site.ben, site.channel(site.ben, "email:ben@example.org"))
    with site.db.transaction() as tx:
        token = credentials.create_api_token(tx, site.ben)
        feed = atom_feeds.token(site.app.state.context.secrets, subscriptions.find(tx, subscription))
        assert credentials.account_of_api_token(tx, token) == site.ben
    assert site.browser().get(f"/feeds/{feed}").status_code == 200
    site.sql(f"UPDATE account SET {column} = now() WHERE id = {site.ben}")
    with site.db.transaction() as tx:
        assert credentials.account_of_api_token(tx, token) is None
    assert site.browser().get(f"/feeds/{feed}").status_code == 404


def test_the_last_operator_is_not_disabled(site: Site, ada: Browser) -> None:
    assert ada.post(f"/members/{site.ada}/disable", {"disabled": "on"}).status_code == 422
    assert is_signed_in(ada)
