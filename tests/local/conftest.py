"""Real servers and processes in directories of their own; whatever a test leaves running fails it."""

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
    """Settings of a data directory that has been in use before: quicker than a fresh one."""
    subprocess.run(["cp", "-a", used_data_dir, settings.data_dir], check=True)
    return settings


def _ours() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True) if alive(process.pid)}


@pytest.fixture(autouse=True)
def nothing_is_left_running(tmp_path: Path) -> Iterator[None]:
    before = _ours()
    yield
    until(lambda: _ours() <= before, "every child of the test has ended")
    for process in psutil.process_iter():
        try:
            at_home = Path(os.path.realpath(process.cwd())).is_relative_to(os.path.realpath(tmp_path))
        except (psutil.Error, OSError):
            continue
        assert not at_home, f"left running: {process}"
