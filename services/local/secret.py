"""The key that signs sessions and links and encrypts secrets of channels."""

from contextlib import suppress
from typing import TYPE_CHECKING

from services.errors import ConfigError
from services.local.datadir import DataDir
from services.local.run_file import write_private

if TYPE_CHECKING:  # see servers.py: the server process does not need pydantic
    from services.settings import Settings


def secret_key(settings: "Settings") -> str:
    """PAPERWIRE_SECRET_KEY, or the key in the data directory, which is generated once.

    Raises ConfigError if the database or the broker is external and the setting is missing.
    """
    if given := settings.secret_key.get_secret_value():
        return given
    if settings.database_url.get_secret_value() or settings.broker_url.get_secret_value():
        raise ConfigError(
            "PAPERWIRE_SECRET_KEY is missing: with PAPERWIRE_DATABASE_URL or PAPERWIRE_BROKER_URL set, every process "
            "needs the same long random key, e.g. from `openssl rand -base64 32`"
        )
    from services.settings import new_secret

    path = DataDir.at(settings.data_dir).path / "secret.key"
    try:
        with suppress(FileExistsError):
            if not path.exists():
                write_private(path, new_secret() + "\n", replace=False)
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read or create {path}: {error}") from None
    if not key:
        raise ConfigError(f"{path} is empty; delete it to get a new key (this signs everybody out)")
    return key
