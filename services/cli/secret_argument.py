"""Arguments that may hold a key, such as the address of a webhook.

The list of processes and the history of the shell show every argument, so the key can be given in other ways.
"""

import os
import sys
from pathlib import Path

from services.errors import ConfigError

FROM_STDIN, FROM_FILE, FROM_ENVIRONMENT = "-", "@", "env:"


def resolve(argument: str) -> str:
    """The argument itself, or what it names: `-` the standard input, `@FILE` a file, `env:NAME` a variable.

    Of a file and of the standard input, one line is read. Raises ConfigError when there is nothing to read.
    """
    if argument == FROM_STDIN:
        return _given(sys.stdin.readline(), "the standard input is empty; `-` reads one line from it")
    if argument.startswith(FROM_ENVIRONMENT):
        name = argument.removeprefix(FROM_ENVIRONMENT)
        return _given(os.environ.get(name, ""), f"the environment variable {name!r} is not set")
    if argument.startswith(FROM_FILE):
        path = argument.removeprefix(FROM_FILE)
        return _given(_first_line(Path(path)), f"the file {path!r} is empty")
    return argument


def _first_line(path: Path) -> str:
    try:
        with path.open() as file:
            return file.readline()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"cannot read {path}: it is not a text") from None


def _given(text: str, if_empty: str) -> str:
    if not text.strip():
        raise ConfigError(if_empty)
    return text.strip()
