"""Errors of commands: one line on stderr, the right exit code, no traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy import create_engine, make_url, text

from services.cli import output
from services.cli.app import app
from services.cli.command_log import READ_ONLY, ROLES
from services.settings import Settings
from services.settings import settings as process_settings
from services.store.db.database import Database
from tests.cli.conftest import LISTINGS, Paperwire


@pytest.mark.parametrize(
    "arguments",
    [["source", "--nonsense"], ["nonsense"], ["user", "add"], ["retry", "seven"], ["preview", "--days", "0"]],
)
def test_wrong_arguments_print_one_line_and_exit_with_code_2(paperwire: Paperwire, arguments: list[str]) -> None:
    answer = paperwire(*arguments)
    assert answer.code == 2
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
    assert "--help" in answer.err


def test_a_query_that_does_not_parse_shows_the_position(paperwire: Paperwire, ada: str) -> None:
    answer = paperwire("subscribe", ada, "--query", "agents OR (graph")
    assert answer.code == 1
    line, query, caret = answer.err.splitlines()
    assert line.startswith("error: ")
    assert query == "agents OR (graph"
    assert query[caret.index("^")] == "("


def test_a_database_without_migrations_is_reported_with_the_command_to_run(
    paperwire: Paperwire, settings: Settings, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_url
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE bare"))
    bare = make_url(url).set(database="bare").render_as_string(hide_password=False)
    monkeypatch.setenv("PAPERWIRE_DATABASE_URL", bare)
    process_settings.cache_clear()
    try:
        assert "paperwire migrate" in paperwire("deliveries").error()
        assert paperwire("migrate").code == 0
        assert paperwire("deliveries", "--json").json() == []
    finally:
        with engine.connect() as connection:
            connection.execute(text("DROP DATABASE bare WITH (FORCE)"))
        engine.dispose()


def test_an_unreachable_database_is_reported_in_one_line_without_its_password(
    paperwire: Paperwire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAPERWIRE_DATABASE_URL", "postgresql+psycopg://user:hunter2@127.0.0.1:9/none")
    process_settings.cache_clear()
    error = paperwire("audit").error()
    assert "cannot be reached" in error
    assert "hunter2" not in error


def test_an_invalid_setting_is_named(paperwire: Paperwire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERWIRE_SHARDS", "none")
    process_settings.cache_clear()
    assert "PAPERWIRE_SHARDS" in paperwire("audit").error()


def test_roles_without_servers_name_the_missing_setting(paperwire: Paperwire, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "PAPERWIRE_BROKER_URL" in paperwire("worker").error()
    assert "PAPERWIRE_BROKER_URL" in paperwire("scheduler").error()
    monkeypatch.delenv("PAPERWIRE_DATABASE_URL")
    process_settings.cache_clear()
    assert "PAPERWIRE_DATABASE_URL" in paperwire("web").error()


def test_an_unexpected_error_is_reported_in_one_line(paperwire: Paperwire, db: Database) -> None:
    with db.transaction() as tx:
        tx.execute(text("ALTER TABLE channel RENAME TO mislaid"))
    try:
        error = paperwire("channel", "list").error()
    finally:
        with db.transaction() as tx:
            tx.execute(text("ALTER TABLE mislaid RENAME TO channel"))
    assert "ProgrammingError" in error
    assert "PAPERWIRE_DEBUG=1" in error


def test_a_closed_pipe_prints_no_error(settings: Settings, paperwire: Paperwire) -> None:
    command = [sys.executable, "-P", "-m", "services.cli", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_help_imports_neither_numpy_nor_the_database() -> None:
    code = (
        "import sys; from services.cli.app import run; run(['--help']);"
        "print(sorted({'numpy', 'sqlalchemy', 'onnxruntime', 'pydantic', 'fastapi'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_packages_of_the_same_name_in_the_working_directory_are_not_imported(tmp_path: Path) -> None:
    for name in ("services", "workers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong package')")
    command = [sys.executable, "-P", "-m", "services.cli", "import", str(LISTINGS / "nothing-here")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot read")


@pytest.mark.parametrize(
    ("command", "arguments"), [("import", "FILE..."), ("user add", "EMAIL"), ("source add", "KIND [LOCATION]")]
)
def test_the_usage_line_writes_required_arguments_without_braces(
    paperwire: Paperwire, command: str, arguments: str
) -> None:
    usage = next(line for line in paperwire(*command.split(), "--help").out.splitlines() if "Usage:" in line)
    assert usage.strip() == f"Usage: paperwire {command} [OPTIONS] {arguments}"


def test_a_time_span_is_printed_in_the_form_that_options_take() -> None:
    spans = (timedelta(minutes=30), timedelta(hours=2), timedelta(days=1), timedelta(seconds=90), timedelta(0))
    assert [output.duration(span) for span in spans] == ["30m", "2h", "1d", "90s", "0s"]


def test_a_command_that_changes_something_leaves_a_line_without_secrets(
    paperwire: Paperwire, settings: Settings
) -> None:
    log = settings.data_dir / "logs" / "commands.log"
    settings.data_dir.mkdir()
    assert paperwire("user", "add", "ada@example.org").code == 0
    assert paperwire("channel", "add", "ada@example.org", "webhook", "https://hooks.example.org/geheim").code == 0
    assert paperwire("channel", "remove", "9").code == 1
    assert paperwire("channel", "list").code == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["command"], line["parameters"], line["outcome"]) for line in lines] == [
        ("user add", {}, "done"),
        ("channel add", {}, "done"),
        ("channel remove", {"channel": 9}, "failed"),
    ]
    assert all(line["user"] for line in lines)
    assert "geheim" not in log.read_text()
    assert "ada" not in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_every_command_that_is_not_logged_exists() -> None:
    assert set(commands_of(typer.main.get_command(app))) >= READ_ONLY | ROLES


def commands_of(group: Any, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        yield from commands_of(command, f"{before}{name} ") if hasattr(command, "commands") else [before + name]


@pytest.mark.parametrize("arguments", [["import"], ["subscribe", "a@example.org"], ["user", "add"], ["source", "add"]])
def test_a_wrong_call_echoes_little_of_what_was_typed(paperwire: Paperwire, arguments: list[str]) -> None:
    answer = paperwire(*arguments, *["--nonsense", "y" * 12_000, "z" * 12_000])
    assert answer.code != 0
    assert len(answer.err) < 1000
