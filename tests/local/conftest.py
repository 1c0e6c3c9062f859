"""Real servers and processes, each in a directory of its own. A test fails if it leaves a process running."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from services.local import database
from services.settings import Settings, load
from tests.local.processes import alive, until


@pytest.fixture
def settings_at() -> Callable[[Path], Settings]:
    def make(path: Path, **more: str) -> Settings:
        return load(Settings, data_dir=path, **{"database_url": "", "broker_url": "", "secret_key": "", **more})

    return make


@pytest.fixture
def settings(tmp_path: Path, settings_at: Callable[[Path], Settings]) -> Settings:
    return settings_at(tmp_path / "data")


@pytest.fixture(scope="session")
def used_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("used") / "data"
    with database(load(Settings, data_dir=path, database_url="", broker_url="")):
        return path


@pytest.fixture
def used(settings: Settings, used_data_dir: Path) -> Settings:
    """The settings of a data directory with an existing database, which starts faster than a new one."""
    subprocess.run(["cp", "-a", used_data_dir, settings.data_dir], check=True)
    return settings


def _child_pids() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True) if alive(process.pid)}


@pytest.fixture(autouse=True)
def nothing_is_left_running(tmp_path: Path) -> Iterator[None]:
    before = _child_pids()
    yield
    until(lambda: _child_pids() <= before, "every child process of the test has ended")
    for process in psutil.process_iter():
        try:
            in_test_dir = Path(os.path.realpath(process.cwd())).is_relative_to(os.path.realpath(tmp_path))
        except (psutil.Error, OSError):
            continue
        assert not in_test_dir, f"left running: {process}"
