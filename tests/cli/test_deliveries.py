from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, update

from services.domain.delivery.state_machine import State
from services.notifiers.email import email_settings
from services.store.db.database import Database
from services.store.db.tables import delivery
from tests.cli.conftest import LISTINGS, Paperwire


@pytest.fixture
def tested(paperwire: Paperwire, ada: str) -> str:
    """A delivery that waits."""
    assert paperwire("channel", "add", ada, "email", ada).code == 0
    assert paperwire("channel", "test", 1).code == 0
    return "1"


def put(db: Database, state: State, due: bool = False) -> None:
    now = db.now()
    with db.transaction() as tx:
        error = "no such mailbox"
        changes = {"state": state, "attempt": 3, "next_attempt_at": now if due else None, "error": error}
        tx.execute(update(delivery).where(delivery.c.id == 1).values(changes))


def test_deliveries_are_listed_by_state(paperwire: Paperwire, tested: str, db: Database) -> None:
    put(db, State.DEAD)
    [row] = paperwire("deliveries", "--state", "dead", "--json").json()
    assert (row["id"], row["channel"], row["state"], row["sent_at"]) == (tested, "1", "dead", None)
    assert (row["attempt"], row["error"], row["papers"]) == (3, "no such mailbox", [])
    assert "no such mailbox" in paperwire("deliveries").out
    assert paperwire("deliveries", "--state", "sent", "--json").json() == []
    assert "there are: pending" in paperwire("deliveries", "--state", "lost").error()


@pytest.mark.parametrize("state", [State.DEAD, State.UNCERTAIN])
def test_what_has_no_step_left_is_tried_again(paperwire: Paperwire, tested: str, db: Database, state: State) -> None:
    put(db, state)
    assert paperwire("retry", tested).code == 0
    [row] = paperwire("deliveries", "--json").json()
    assert (row["state"], row["attempt"]) == ("pending", 0)


@pytest.mark.parametrize("state", [State.PENDING, State.SENDING, State.SENT, State.CANCELLED])
def test_what_goes_its_way_is_left_alone(paperwire: Paperwire, tested: str, db: Database, state: State) -> None:
    put(db, state)
    assert f"is {state}" in paperwire("retry", tested).error()


def test_a_doubtful_one_with_a_resend_to_come_is_left_alone(paperwire: Paperwire, tested: str, db: Database) -> None:
    put(db, State.UNCERTAIN, due=True)
    assert "is uncertain" in paperwire("retry", tested).error()
    assert "no delivery 7" in paperwire("retry", 7).error()


def test_the_audit_fails_on_what_is_overdue(paperwire: Paperwire, tested: str, db: Database) -> None:
    assert paperwire("audit", "--json").json()["clean"] is True
    with db.transaction() as tx:
        stuck = {"state": "sending", "lease_until": func.now() - timedelta(hours=1)}
        tx.execute(update(delivery).values(stuck))
    answer = paperwire("audit")
    assert answer.code == 1
    assert "1  leases expired" in answer.out
    assert answer.err == ""


def test_bounces_are_read_from_files_or_from_the_mailbox(
    paperwire: Paperwire, ada: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = (LISTINGS.parent / "bounces" / "postfix.eml").read_bytes().replace(b"MESSAGE-ID", b"<none@of.ours>")
    (tmp_path / "report.eml").write_bytes(report)
    assert paperwire("bounces", tmp_path / "report.eml").out == "1 mail read: 1 ignored\n"
    assert paperwire("bounces", "-", stdin=report).out == "1 mail read: 1 ignored\n"
    assert "cannot read" in paperwire("bounces", tmp_path / "none.eml").error()
    assert "PAPERWIRE_BOUNCE_URL is not set" in paperwire("bounces").error()
    for name in ("new", "cur"):
        (tmp_path / "Back" / name).mkdir(parents=True)
    monkeypatch.setenv("PAPERWIRE_BOUNCE_URL", f"maildir://{tmp_path}/Back")
    email_settings.cache_clear()
    assert paperwire("bounces").out == "0 mails read\n"
    (tmp_path / "Back/new/1").write_bytes(report)
    assert paperwire("bounces").out == "1 mail read: 1 ignored\n"
