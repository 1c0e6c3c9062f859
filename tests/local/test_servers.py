import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest
from pydantic import SecretStr

from services.errors import ConfigError, Conflict, PaperwireError
from services.local import database, role_environment, running, servers, shared_server
from services.local.datadir import DataDir
from services.local.file_locks import Locks
from services.local.process import without_children
from services.local.servers import restarted_when_killed
from services.settings import Settings
from tests.local.processes import alive, finish, first_line, postmaster, query, script, until

pytestmark = pytest.mark.processes

USE = """
import sys
from pathlib import Path
from services.local import database
from services.settings import Settings
with database(Settings(data_dir=Path(sys.argv[1]))) as url:
    print(url, flush=True)
    sys.stdin.read()
"""
UP = USE.replace("database", "servers").replace("as url", "as (url, broker)")


def test_two_commands_share_a_server_and_the_last_one_stops_it(used: Settings) -> None:
    first = script(USE, used.data_dir, stdin=subprocess.PIPE)
    assert first_line(first)
    with database(used) as url:
        shared = postmaster(used.data_dir)
        assert first.stdin
        first.stdin.close()
        assert finish(first) == 0
        assert query(url, "SELECT 1") == 1
        assert postmaster(used.data_dir) == shared
    assert not alive(shared)


def test_killing_the_command_that_started_the_server_does_not_affect_the_other(used: Settings) -> None:
    first = script(USE, used.data_dir, stdin=subprocess.PIPE)
    assert first_line(first)
    with database(used) as url:
        shared = postmaster(used.data_dir)
        finish(first, kill=True)
        assert first.stdin
        first.stdin.close()
        assert query(url, "SELECT 1") == 1
    assert not alive(shared)


def test_after_sigkill_of_the_last_user_the_server_stops_and_the_data_stays(used: Settings) -> None:
    only = script(USE, used.data_dir, stdin=subprocess.PIPE)
    query(first_line(only), "CREATE TABLE kept AS SELECT 42 AS answer")
    number = postmaster(used.data_dir)
    finish(only, kill=True)
    assert only.stdin
    only.stdin.close()
    until(lambda: not alive(number), "the server has stopped")
    with database(used) as url:
        assert query(url, "SELECT answer FROM kept") == 42


def test_after_sigkill_of_every_process_the_next_up_works(used: Settings) -> None:
    up = script(UP, used.data_dir, stdin=subprocess.PIPE)
    query(first_line(up), "CREATE TABLE kept AS SELECT 42 AS answer")
    home = DataDir.at(used.data_dir)
    server_processes = [int((home.run / f"{name}.process").read_text()) for name in ("postgres", "valkey")]
    for number in (up.pid, *server_processes, postmaster(used.data_dir)):
        os.kill(number, signal.SIGKILL)
    finish(up)
    assert up.stdin
    up.stdin.close()
    with servers(used) as (url, _):
        assert query(url, "SELECT answer FROM kept") == 42


def test_up_restarts_a_killed_server_process(used: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine the restart may outlast this time, and a line about the wait would follow.
    monkeypatch.setattr(shared_server, "QUIET_SECONDS", 60.0)
    messages: list[str] = []
    with servers(used, say=messages.append) as (url, _):
        locks = Locks(DataDir.at(used.data_dir), "postgres")
        killed = locks.process_lock.read_note()
        os.kill(int(killed), signal.SIGKILL)
        until(lambda: locks.process_lock.read_note() != killed, "there is a new server process")
        locks.close()

        def answer() -> bool:
            try:
                return bool(query(url, "SELECT 1"))
            except psycopg.OperationalError:
                return False

        assert until(answer, "the server is back")
    assert messages == ["PostgreSQL has ended; restarting it"]


def test_a_second_up_is_rejected_and_names_the_running_one(used: Settings) -> None:
    with servers(used) as (url, broker_url):
        up = running(used)
        assert up
        assert (up.pid, up.database_url, up.broker_url) == (os.getpid(), url, broker_url)
        assert (used.data_dir / "run" / "up.json").stat().st_mode & 0o777 == 0o600
        expected = rf"already running on .*data \(process {os.getpid()}, http://127.0.0.1:8400\)"
        with pytest.raises(Conflict, match=expected), servers(used):
            pass
        assert query(url, "SELECT 1") == 1
    assert running(used) is None
    assert not (used.data_dir / "run" / "up.json").exists()


def test_a_command_joins_the_server_of_up_and_does_not_stop_it(used: Settings) -> None:
    with servers(used) as (url, _):
        with database(used) as joined:
            assert joined == url
        assert query(url, "SELECT 1") == 1


def test_no_server_is_started_if_the_urls_are_set(settings: Settings) -> None:
    urls = {"database_url": SecretStr("postgresql://db/x"), "broker_url": SecretStr("redis://broker/0")}
    elsewhere = settings.model_copy(update=urls)
    with servers(elsewhere) as found:
        assert found == ("postgresql://db/x", "redis://broker/0")
        with database(elsewhere) as url:
            assert url == "postgresql://db/x"
        with database(settings) as url:
            assert url == "postgresql://db/x", "a command uses the database of `up`"
    assert not (settings.data_dir / "postgres").exists()


def test_the_database_is_prepared_before_it_is_used(settings: Settings) -> None:
    prepared: list[str] = []
    with database(settings, prepared.append) as url:
        assert prepared == [url]


def test_a_failed_preparation_stops_the_server_and_can_be_retried(used: Settings) -> None:
    def fail(url: str) -> None:
        raise ConfigError("the migration failed")

    with pytest.raises(ConfigError, match="the migration failed"), database(used, fail):
        pass
    assert not (used.data_dir / "postgres" / "postmaster.pid").exists()
    with database(used) as url:
        assert query(url, "SELECT 1") == 1


def test_a_server_that_does_not_start_reports_the_reason(used: Settings) -> None:
    with database(used):
        pass
    (used.data_dir / "postgres" / "global" / "pg_control").unlink()
    why = r"PostgreSQL does not start: .*(pg_control|control file).*postgres\.log"
    with pytest.raises(PaperwireError, match=why), database(used):
        pass


def test_an_unusable_data_directory_is_reported_in_one_line(
    tmp_path: Path, settings_at: Callable[[Path], Settings]
) -> None:
    (tmp_path / "file").touch()
    why = r"cannot use the data directory .*PAPERWIRE_DATA_DIR"
    with pytest.raises(ConfigError, match=why), database(settings_at(tmp_path / "file")):
        pass


def test_only_roles_of_a_killed_up_on_this_directory_are_ended(settings: Settings, tmp_path: Path) -> None:
    wait = "import time; print('here', flush=True); time.sleep(600)"
    environment = role_environment(settings, "postgresql://db/x", "redis://broker/0")
    supervised = {**environment, "PAPERWIRE_SUPERVISED": "1"}
    orphan = script(wait, env=supervised)
    command = script(wait, env=environment)
    neighbour = script(wait, env={**supervised, "PAPERWIRE_DATA_DIR": str(tmp_path / "other")})
    processes_of_three = (orphan, command, neighbour)
    try:
        assert [first_line(process) for process in processes_of_three] == ["here"] * 3
        urls = {"database_url": SecretStr("postgresql://db/x"), "broker_url": SecretStr("redis://broker/0")}
        with servers(settings.model_copy(update=urls)):
            assert not alive(orphan.pid)
            assert alive(command.pid)
            assert alive(neighbour.pid)
    finally:
        for process in processes_of_three:
            finish(process, kill=True)


class FailingOnce:
    """A server whose first `revive` fails."""

    def __init__(self) -> None:
        self.calls = 0

    def revive(self) -> None:
        self.calls += 1
        if self.calls == 1:
            raise psutil.NoSuchProcess(1)


def test_the_restarting_thread_continues_after_an_error() -> None:
    server, messages = FailingOnce(), list[str]()
    with restarted_when_killed([server], messages.append):
        until(lambda: server.calls >= 3, "it is called again")
    assert len(messages) == 1
    assert "no longer exists" in messages[0]


def test_a_process_that_ends_during_the_check_is_left_out() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        ended, current = psutil.Process(child.pid), psutil.Process()
        assert without_children([current, ended]) == [current]
        assert without_children([ended]) == [ended]
        child.kill()
    assert without_children([current, ended]) == [current]
    assert without_children([ended]) == []


def test_a_new_database_is_announced_once_with_its_directory(tmp_path: Path) -> None:
    command = (sys.executable, "-P", "-m", "services.cli", "--data-dir", str(tmp_path / "new"), "source", "list")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PAPERWIRE_")}
    runs = [subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment) for _ in range(2)]
    assert [(run.returncode, run.stdout) for run in runs] == [(0, "no sources yet\n")] * 2
    assert [run.stderr for run in runs] == [f"starting a new database in {tmp_path / 'new'}\n", ""]
