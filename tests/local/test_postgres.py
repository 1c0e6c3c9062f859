import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import pytest
from sqlalchemy import create_engine, text

from services.errors import ConfigError
from services.local import database
from services.local.datadir import DataDir, make_private
from services.local.os_user import allow_traversal, server_user
from services.local.postgres import Postgres, reachable_copy
from services.settings import Settings
from tests.local.processes import alive, postmaster, query, until

pytestmark = pytest.mark.processes
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="requires root")


def test_a_new_database_starts_quickly_and_supports_unicode_and_vectors(settings: Settings) -> None:
    started = time.monotonic()
    with database(settings) as url:
        assert time.monotonic() - started < 15
        engine = create_engine(url)
        with engine.begin() as connection:
            assert connection.execute(text("SELECT current_database()")).scalar() == "paperwire"
            assert connection.execute(text("SELECT upper('é') || lower('Ω')")).scalar() == "Éω"
            connection.execute(text("CREATE EXTENSION vector"))
        engine.dispose()


def test_it_listens_on_a_private_socket_only(used: Settings) -> None:
    with database(used) as url:
        assert query(url, "SHOW listen_addresses") == ""
        assert query(url, "SHOW fsync") == "on"
        # The URL names the folder, since the socket is in /tmp if the temporary directory has a long path.
        socket = Path(parse_qs(urlsplit(url).query)["host"][0]) / ".s.PGSQL.5432"
        assert socket.stat().st_mode & 0o077 == 0
        assert socket.parent.stat().st_mode & 0o077 == 0


def test_committed_data_is_there_at_the_next_start(used: Settings) -> None:
    with database(used) as url:
        query(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    with database(used) as url:
        assert query(url, "SELECT answer FROM kept") == 42


def test_a_killed_server_is_restarted_with_its_data(used: Settings) -> None:
    with database(used) as url:
        query(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        killed = postmaster(used.data_dir)
        os.kill(killed, 9)
        until(lambda: not alive(killed), "it has ended")

        def answer() -> int | None:
            try:
                return int(query(url, "SELECT answer FROM kept"))
            except psycopg.OperationalError:
                return None

        assert until(answer, "the server answers again") == 42


def test_a_stale_pid_file_with_the_pid_of_another_process_is_ignored(used: Settings) -> None:
    with database(used):
        pass
    folder = used.data_dir / "postgres"
    user = server_user(folder)
    other_process = subprocess.Popen(["sleep", "600"], user=user.uid if user else None)
    try:
        content = f"{other_process.pid}\n{folder}\n1700000000\n5432\n{folder}\n\n  1 1\nready\n"
        (folder / "postmaster.pid").write_text(content)
        (used.data_dir / "run" / "postgres" / ".s.PGSQL.5432.lock").write_text(content)
        with database(used) as url:
            assert query(url, "SELECT 1") == 1
        assert other_process.poll() is None
    finally:
        other_process.kill()
        other_process.wait()


def test_the_server_of_another_directory_is_not_ended(tmp_path: Path, settings_at: Callable[[Path], Settings]) -> None:
    one, other = settings_at(tmp_path / "one"), settings_at(tmp_path / "other")
    with database(other):
        pass
    with database(one) as url:
        number = postmaster(one.data_dir)
        (other.data_dir / "postgres" / "postmaster.pid").write_text(f"{number}\n")
        with database(other) as other_url:
            assert query(other_url, "SELECT 1") == 1
        assert alive(number)
        assert query(url, "SELECT 1") == 1


def test_an_orphaned_server_is_ended_before_a_new_one_starts(used: Settings) -> None:
    with database(used):
        pass
    server = Postgres(DataDir.at(used.data_dir))
    orphan = server.spawn()
    try:
        until(lambda: server.problem() is None, "the orphan answers")
        (used.data_dir / "postgres" / "postmaster.pid").unlink()
        with database(used) as url:
            assert not alive(orphan.pid)
            assert query(url, "SELECT 1") == 1
    finally:
        orphan.kill()
        orphan.wait()


def test_an_interrupted_initdb_is_removed(settings: Settings) -> None:
    unfinished = settings.data_dir / "postgres.unfinished-x"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    (settings.data_dir / "postgres").mkdir()
    with database(settings) as url:
        assert query(url, "SELECT 1") == 1
    assert not unfinished.exists()


def test_a_database_of_another_major_version_is_rejected_with_the_steps_to_take(settings: Settings) -> None:
    folder = settings.data_dir / "postgres"
    folder.mkdir(parents=True)
    (folder / "PG_VERSION").write_text("16\n")
    with pytest.raises(ConfigError, match=r"PostgreSQL 16.*PostgreSQL 18.*restore"), database(settings):
        pass
    assert (folder / "PG_VERSION").read_text() == "16\n"


def test_a_folder_without_a_database_is_not_changed(settings: Settings) -> None:
    folder = settings.data_dir / "postgres"
    folder.mkdir(parents=True)
    (folder / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="move it away"), database(settings):
        pass
    assert (folder / "thesis.tex").exists()


@pytest.mark.parametrize("name", ["x" * 120, "with space, comma & ünïcödé %41"], ids=["long", "odd"])
def test_long_and_unusual_paths_work(tmp_path: Path, settings_at: Callable[[Path], Settings], name: str) -> None:
    settings = settings_at(tmp_path / name)
    with database(settings) as url:
        assert "%" not in url
        assert query(url, "SELECT 1") == 1
        socket_dir = Path(url.split("host=")[1].split("&")[0])
        assert socket_dir.is_relative_to("/tmp")
    socket_dir.rmdir()


def test_a_socket_folder_of_another_user_is_not_used(tmp_path: Path, settings_at: Callable[[Path], Settings]) -> None:
    settings = settings_at(tmp_path / ("x" * 120))
    folder = DataDir.at(settings.data_dir).socket_dir("postgres", ".s.PGSQL.5432")
    folder.symlink_to(tmp_path)
    try:
        with pytest.raises(ConfigError, match="another OS user"), database(settings):
            pass
    finally:
        folder.unlink()


def test_the_server_does_not_know_the_secrets_of_the_operator(used: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERWIRE_SECRET_KEY", "geheim")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "geheim")
    with database(used):
        servers = [
            process
            for process in psutil.process_iter()
            if process.name() == "postgres" and str(used.data_dir) in " ".join(process.cmdline())
        ]
        assert servers
        assert not any("geheim" in process.environ().values() for process in servers)


def test_environment_variables_of_other_servers_are_ignored(used: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGPORT": "6000", "PGDATA": "/nowhere", "LC_ALL": "xx_YY.UTF-8"}.items():
        monkeypatch.setenv(name, value)
    with database(used) as url:
        assert query(url, "SELECT 1") == 1


@needs_root
def test_a_folder_of_another_os_user_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    with pytest.raises(ConfigError, match="another OS user"):
        make_private(folder, None)


@needs_root
def test_root_allows_traversal_but_not_listing(settings: Settings) -> None:
    closed = settings.data_dir.parent / "closed"
    closed.mkdir(mode=0o700)
    allow_traversal(closed / "data")
    assert closed.stat().st_mode & 0o777 == 0o701


@needs_root
def test_programs_that_the_server_user_cannot_read_are_copied(tmp_path: Path) -> None:
    user = server_user(tmp_path)
    assert user
    wheel = Postgres(DataDir.at(tmp_path / "data"))._programs(user)
    copy = reachable_copy(wheel, tmp_path / "programs" / "wheel-1")
    assert reachable_copy(wheel, tmp_path / "programs" / "wheel-1") == copy
    as_server = {"user": user.uid, "group": user.gid, "extra_groups": []}
    for program in ("initdb", "postgres"):
        done = subprocess.run([copy / program, "--version"], cwd="/", capture_output=True, text=True, **as_server)
        assert "18." in done.stdout, done.stderr
    assert (copy.parent / "share" / "postgresql" / "extension" / "vector.control").exists()
    assert (copy / "postgres").stat().st_mode & 0o777 == 0o755
