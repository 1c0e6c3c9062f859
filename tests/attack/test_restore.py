"""Cookies, sign-in links and feed addresses of a lost database open nothing in the restored one."""

from sqlalchemy import text

from services.store.accounts import credentials
from services.store.db import restored_keys
from services.store.subscriptions import atom_feeds, subscriptions
from tests.web.conftest import Browser, Site


def test_what_was_given_out_before_a_restore_opens_no_account(site: Site, ada: Browser, ben: Browser) -> None:
    own = site.subscription(site.ada)
    with site.db.transaction() as tx:
        row = subscriptions.find(tx, own)
        feed = atom_feeds.token(site.app.state.context.secrets, row)
        key = credentials.create_signin_link(tx, site.ada)
    assert ada.get("/account").status_code == 200
    assert ada.get(f"/feeds/{feed}").status_code == 200
    with site.db.transaction() as tx:
        for statement in restored_keys.renew_script().split(";"):
            if statement.strip():
                tx.execute(text(statement))
    for browser in (ada, ben):
        assert browser.get("/account").headers["location"].startswith("/signin")
    assert ada.get(f"/feeds/{feed}").status_code == 404
    assert site.browser().post("/signin", {"key": key}).status_code == 403


def test_a_new_row_never_takes_the_number_of_a_lost_one(site: Site) -> None:
    lost = site.subscription(site.ada)
    site.sql(f"DELETE FROM subscription WHERE id = {lost}")
    site.sql("SELECT setval(pg_get_serial_sequence('subscription', 'id'), 1, false)")
    with site.db.transaction() as tx:
        for statement in restored_keys.renew_script().split(";"):
            if statement.strip():
                tx.execute(text(statement))
    assert site.subscription(site.ada) > lost
