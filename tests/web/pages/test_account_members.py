"""Several people who sign in to one account."""

import pytest

from services.store.accounts import accounts, members, sessions
from tests.web.conftest import Browser, Site, text_of
from tests.web.mailed_links import is_signed_in, key_of, mailed_path, mails, send_mails


@pytest.fixture
def carol(site: Site) -> Browser:
    """A member, and no owner, of Ben's account."""
    with site.db.transaction() as tx:
        member_id = members.add(tx, site.ben, "carol@example.org", "member")
        key = sessions.start(tx, site.ben, "198.51.100.3", "Firefox/140.0", member_id)
    return Browser(site.app, key)


def people(site: Site) -> list[tuple[str, str]]:
    return [
        (str(email), str(role))
        for email, role in site.sql(f"SELECT email, role FROM member WHERE account_id = {site.ben} ORDER BY id")
    ]


def id_of(site: Site, email: str) -> int:
    ((member_id,),) = site.sql(f"SELECT id FROM member WHERE email = '{email}'")
    return int(member_id)


BEN, CAROL = ("ben@example.org", "owner"), ("carol@example.org", "member")


def test_an_owner_invites_a_person_who_joins_the_account(site: Site, ben: Browser) -> None:
    assert ben.post("/account/people/invite", {"email": "Carol@example.org", "role": "member"}).status_code == 303
    assert "carol@example.org invited member" in text_of(ben.get("/account"))
    send_mails(site)
    ((to, plain, _),) = mails(site)
    assert to == "carol@example.org"
    assert "ben@example.org invites you" in " ".join(plain.split())
    nobody, path = site.browser(), mailed_path(site)
    nobody.get(path)
    assert "join the account ben@example.org" in text_of(nobody.get("/signin/link"))
    assert nobody.post("/signin", {"key": key_of(path)}).status_code == 303
    assert people(site) == [BEN, CAROL]
    assert site.sql("SELECT count(*) FROM account") == [(2,)]
    assert "carol@example.org added a member: carol@example.org: member" in text_of(ben.get("/account/changes"))
    assert 'name="email" value="ben@example.org"' in nobody.get("/account").text
    assert "carol@example.org invited member" not in text_of(ben.get("/account"))


def test_a_member_signs_in_with_the_own_address(site: Site, carol: Browser) -> None:
    nobody = site.browser()
    nobody.post("/signin/mail", {"email": "carol@example.org"})
    send_mails(site)
    assert [to for to, _, _ in mails(site)] == ["carol@example.org"]
    assert nobody.post("/signin", {"key": key_of(mailed_path(site))}).status_code == 303
    assert "carol@example.org you member" in text_of(nobody.get("/account"))


def test_a_link_of_one_member_leaves_the_links_of_others(site: Site, carol: Browser) -> None:
    keys = []
    for email in ("ben@example.org", "carol@example.org"):
        site.browser().post("/signin/mail", {"email": email})
        send_mails(site)
        keys.append(key_of(mailed_path(site)))
    for key in keys:
        assert site.browser().post("/signin", {"key": key, "confirmed": "on"}).status_code == 303


def test_a_member_uses_the_account_and_does_not_rule_it(site: Site, ben: Browser, carol: Browser) -> None:
    site.subscription(site.ben, site.channel(site.ben, "email:ben@example.org"), name="Whales")
    assert "Whales" in text_of(carol.get("/subscriptions"))
    assert carol.post("/account", {"timezone": "Asia/Tokyo", "email": "ben@example.org"}).status_code == 303
    refused = carol.post("/account", {"timezone": "UTC", "email": "carol@example.org"})
    assert refused.status_code == 422
    assert "only an owner" in text_of(refused).lower()
    before = people(site)
    for path, fields in (
        ("/account/people/invite", {"email": "eve@example.org", "role": "owner"}),
        (f"/account/people/{id_of(site, 'carol@example.org')}/role", {"role": "owner"}),
        (f"/account/people/{id_of(site, 'ben@example.org')}/remove", {}),
        ("/account/invitations/1/revoke", {}),
    ):
        answer = carol.post(path, fields)
        assert answer.status_code == 403, path
        assert "Only an owner" in text_of(answer)
    assert people(site) == before
    assert site.sql("SELECT count(*) FROM invitation") == [(0,)]


def test_a_member_sees_and_ends_the_own_sessions_only(site: Site, ben: Browser, carol: Browser) -> None:
    assert "192.0.2.7" not in text_of(carol.get("/account"))
    assert "198.51.100.3" in text_of(ben.get("/account"))
    ((bens,),) = site.sql(f"SELECT id FROM session WHERE member_id = {id_of(site, 'ben@example.org')}")
    assert carol.post(f"/account/sessions/{bens}/end").status_code == 404
    carol.post("/account/sessions/end")
    assert not is_signed_in(carol)
    assert is_signed_in(ben)


def test_an_owner_ends_the_sessions_of_all_members(site: Site, ben: Browser, carol: Browser) -> None:
    ben.post("/account/sessions/end")
    assert not is_signed_in(carol)


def test_a_removed_member_is_signed_out_at_once(site: Site, ben: Browser, carol: Browser) -> None:
    assert ben.post(f"/account/people/{id_of(site, 'carol@example.org')}/remove").status_code == 303
    assert not is_signed_in(carol)
    assert is_signed_in(ben)
    assert people(site) == [BEN]


def test_a_member_leaves(site: Site, carol: Browser) -> None:
    answer = carol.post(f"/account/people/{id_of(site, 'carol@example.org')}/remove")
    assert answer.headers["location"] == "/signin"
    assert people(site) == [BEN]


def test_the_last_owner_stays_until_another_is_made(site: Site, ben: Browser, carol: Browser) -> None:
    mine, other = id_of(site, "ben@example.org"), id_of(site, "carol@example.org")
    for path, fields in ((f"/account/people/{mine}/remove", {}), (f"/account/people/{mine}/role", {"role": "member"})):
        answer = ben.post(path, fields)
        assert answer.status_code == 422
        assert "last owner" in text_of(answer)
    assert people(site) == [BEN, CAROL]
    assert ben.post(f"/account/people/{other}/role", {"role": "owner"}).status_code == 303
    assert ben.post(f"/account/people/{mine}/remove").status_code == 303
    assert people(site) == [("carol@example.org", "owner")]


def test_members_of_another_account_cannot_be_named(site: Site, ada: Browser, carol: Browser) -> None:
    member = id_of(site, "carol@example.org")
    assert ada.post(f"/account/people/{member}/remove").status_code == 404
    assert ada.post(f"/account/people/{member}/role", {"role": "owner"}).status_code == 404
    assert people(site) == [BEN, CAROL]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"email": "nonsense", "role": "member"}, "not an e-mail address"),
        ({"email": "eve@example.org", "role": "operator"}, "owner or member"),
    ],
)
def test_an_invitation_that_cannot_be_made_keeps_what_was_typed(
    site: Site, ben: Browser, fields: dict[str, str], words: str
) -> None:
    answer = ben.post("/account/people/invite", fields)
    assert answer.status_code == 422
    assert words in text_of(answer)
    assert f'value="{fields["email"]}"' in answer.text
    assert site.sql("SELECT count(*) FROM invitation") == [(0,)]


def test_an_address_with_an_account_gets_no_mail_and_the_page_does_not_tell(site: Site, ben: Browser) -> None:
    answers = [ben.post("/account/people/invite", {"email": email}) for email in ("ada@example.org", "eve@example.org")]
    assert {(answer.status_code, answer.headers["location"]) for answer in answers} == {
        (303, "/account?flash=invited#top")
    }
    send_mails(site)
    assert [to for to, _, _ in mails(site)] == ["eve@example.org"]


def test_who_got_an_account_meanwhile_does_not_join(site: Site, ben: Browser) -> None:
    ben.post("/account/people/invite", {"email": "eve@example.org"})
    send_mails(site)
    with site.db.transaction() as tx:
        accounts.add(tx, "eve@example.org", "UTC")
    assert site.browser().post("/signin", {"key": key_of(mailed_path(site))}).status_code == 403
    assert people(site) == [BEN]


def test_a_member_of_an_operators_account_is_no_operator(site: Site, ada: Browser) -> None:
    with site.db.transaction() as tx:
        member_id = members.add(tx, site.ada, "carol@example.org", "member")
        carol = Browser(site.app, sessions.start(tx, site.ada, member_id=member_id))
    assert carol.get("/members").status_code == 404
    assert ada.get("/members").status_code == 200


def test_the_owner_signs_in_with_a_changed_address(site: Site, ada: Browser) -> None:
    ada.post("/account", {"email": "ada@new.example", "timezone": "UTC"})
    assert site.sql(f"SELECT email FROM member WHERE account_id = {site.ada}") == [("ada@new.example",)]


def test_an_address_of_a_member_cannot_become_another_account_s(site: Site, ada: Browser, carol: Browser) -> None:
    answer = ada.post("/account", {"email": "carol@example.org", "timezone": "UTC"})
    assert answer.status_code == 422
    assert "signs in to an account already" in text_of(answer)
