from pathlib import Path

import pytest
from pydantic import SecretStr

from services.errors import ConfigError
from services.local import secret_key
from services.settings import Settings


def test_a_key_is_generated_once_and_kept_private(settings: Settings) -> None:
    key = secret_key(settings)
    assert len(key) > 30
    assert secret_key(settings) == key
    assert (settings.data_dir / "secret.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in settings.data_dir.iterdir() if path.is_file()] == ["secret.key"]


def test_the_setting_overrides_the_file(settings: Settings) -> None:
    assert secret_key(settings.model_copy(update={"secret_key": SecretStr("given")})) == "given"
    assert not (settings.data_dir / "secret.key").exists()


@pytest.mark.parametrize("name", ["database_url", "broker_url"])
def test_external_servers_require_the_setting(settings: Settings, name: str) -> None:
    with pytest.raises(ConfigError, match="PAPERWIRE_SECRET_KEY"):
        secret_key(settings.model_copy(update={name: SecretStr("scheme://host")}))


def test_an_empty_key_file_is_an_error(settings: Settings, tmp_path: Path) -> None:
    secret_key(settings)
    (settings.data_dir / "secret.key").write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        secret_key(settings)
