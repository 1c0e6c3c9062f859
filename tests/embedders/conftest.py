"""Embedders that keep something in the data directory keep it in one of the tests'."""

from collections.abc import Iterator

import pytest

from services.settings import settings


@pytest.fixture(autouse=True)
def _data_dir(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PAPERWIRE_DATA_DIR", str(tmp_path_factory.getbasetemp() / "embedders"))
    settings.cache_clear()
    yield
    settings.cache_clear()
