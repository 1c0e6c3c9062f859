from pathlib import Path

import pytest
from sqlalchemy import text

from services import local
from services.cli.app import run
from services.settings import Settings, settings
from services.store.accounts import sessions
from services.store.db.database import Database
from services.store.maintenance import migrate
from tests.cli.conftest import Paperwire


def test_sending_is_paused_shown_and_resumed(paperwire: Paperwire, ada: str) -> None:
    assert "off" in paperwire("hold", "status").out
    assert paperwire("hold", "on", "--because", "we move").code == 0
    found = paperwire("hold", "status", "--json").json()
    assert (found["held"], found["paused_because"], found["waiting"]) == (True, "we move", [])
    assert "we move" in paperwire("hold", "status").out
    assert "over" in paperwire("hold", "off").out
    assert paperwire("hold", "off").error() == "error: there is no hold"


@pytest.fixture
def waits(paperwire: Paperwire, ada: str, db: Database) -> None:
    """One paper that is due on a channel while sending is paused."""
    paperwire("hold", "on")
    assert paperwire("channel", "add", ada, "email", ada).code == 0
    with db.transaction() as tx:
        tx.execute(
            text("""
            INSERT INTO paper (title, title_key, announced_on, first_seen_at) VALUES ('A', 'a', '2026-05-04', now());
            INSERT INTO delivery_item (account_id, channel_id, paper_id, not_before, cadence)
                SELECT c.account_id, c.id, p.id, now(), 'immediate' FROM channel c, paper p""")
        )


def test_ending_the_pause_shows_what_is_sent_and_needs_a_confirmation(paperwire: Paperwire, waits: None) -> None:
    refused = paperwire("hold", "off")
    assert refused.code == 1
    assert "ada@example.org" in refused.out
    assert "--sent-until" in refused.err
    assert paperwire("hold", "status", "--json").json()["held"]
    assert paperwire("hold", "off", "--yes").code == 0


def test_papers_that_were_sent_already_can_be_counted_as_sent(paperwire: Paperwire, waits: None) -> None:
    assert "reads 2026-05-27" in paperwire("hold", "off", "--sent-until", "May").error()
    done = paperwire("hold", "off", "--sent-until", "2026-05-04")
    assert done.code == 0
    assert "1 papers on channels count as sent" in done.out
    assert "nothing waits" in done.out


def test_a_backup_restored_on_another_server_is_paused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def on(name: str, *words: str) -> str:
        monkeypatch.setenv("PAPERWIRE_DATA_DIR", str(tmp_path / name))
        settings.cache_clear()
        code = run(list(words))
        out, err = capsys.readouterr()
        assert code == 0, err
        return out

    monkeypatch.delenv("PAPERWIRE_DATABASE_URL", raising=False)
    monkeypatch.delenv("PAPERWIRE_SECRET_KEY", raising=False)
    on("one", "user", "add", "ada@example.org")
    assert "secret.key" in on("one", "backup", str(tmp_path / "paperwire.backup"))
    assert (tmp_path / "paperwire.backup").stat().st_mode & 0o777 == 0o600
    assert "nothing is sent" in on("two", "restore", str(tmp_path / "paperwire.backup"))
    assert "ada@example.org" in on("two", "user", "list")
    assert "restored from paperwire.backup" in on("two", "hold", "status")
    on("two", "hold", "off")
    assert "off" in on("two", "hold", "status")
    settings.cache_clear()


def test_a_restored_database_has_new_keys_and_gives_no_number_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PAPERWIRE_DATABASE_URL", raising=False)
    monkeypatch.setenv("PAPERWIRE_DATA_DIR", str(tmp_path / "data"))
    settings.cache_clear()
    copy = str(tmp_path / "paperwire.backup")

    def keys(db: Database) -> list[tuple[object, ...]]:
        with db.transaction() as tx:
            return [tuple(row) for row in tx.execute(text("SELECT id FROM account ORDER BY id"))]

    config = settings()
    # One server for all steps, since starting one takes seconds.
    with local.database(config, migrate.upgrade_embedded) as url:
        db = Database(url)
        assert run(["user", "add", "ada@example.org"]) == 0
        assert run(["user", "link", "ada@example.org"]) == 0
        with db.transaction() as tx:
            key = sessions.start(tx, 1)
        assert run(["backup", copy]) == 0
        assert run(["user", "add", "ben@example.org"]) == 0
        ada, ben = keys(db)
        db.close()
        assert run(["restore", copy, "--replace"]) == 0
        assert "signed out" in capsys.readouterr().out
        assert run(["user", "add", "eve@example.org"]) == 0
        restored, eve = keys(db)
        with db.transaction() as tx:
            assert sessions.by_key(tx, key) is None
            assert tx.execute(text("SELECT count(*) FROM session")).scalar_one() == 1
            assert tx.execute(text("SELECT count(*) FROM signin_link WHERE used_at IS NULL")).scalar_one() == 0
        db.close()
    assert restored[0] == ada[0]
    assert eve[0] not in (ada[0], ben[0])
    settings.cache_clear()


def test_a_restore_replaces_accounts_only_with_the_option(paperwire: Paperwire, ada: str, tmp_path: Path) -> None:
    assert "does not exist" in paperwire("restore", tmp_path / "none", "--replace").error()
    (tmp_path / "note").write_text("no backup")
    assert "is not a backup" in paperwire("restore", tmp_path / "note", "--replace").error()
    assert "--replace" in paperwire("restore", tmp_path / "note").error()
    assert ada in paperwire("user", "list").out


def test_a_backup_needs_a_folder(paperwire: Paperwire, tmp_path: Path, settings: Settings) -> None:
    assert "does not exist; create it first" in paperwire("backup", tmp_path / "none" / "file").error()
