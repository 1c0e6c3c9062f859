"""docker-compose.yml without a container engine: each of its roles runs here as compose would run it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import yaml
from psycopg import sql

from services.cli import up
from services.local import servers
from services.settings import Settings, load
from services.store.maintenance.database_role import ROLE
from tests.local.processes import TIMEOUT_SECONDS, until
from tests.support.sinks import refused_port
from workers.app import QUEUES
from workers.scheduler import HEARTBEAT_QUEUES

ROOT = Path(__file__).parent.parent
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
GIVEN = {"PAPERWIRE_SECRET_KEY": "a key for tests alone of 32 characters or more", "POSTGRES_PASSWORD": "secret42"}
OUTSIDE_SETTINGS = {"PAPERWIRE_HEARTBEAT"}
"""Read by workers/app.py alone: a role's own, not the service's."""
HEALTHY_SECONDS = 90.0
VARIABLE = re.compile(r"\$\{(\w+)(?::([-+?])([^${}]*))?\}")


def interpolated(text: str, env: Mapping[str, str]) -> str:
    """As compose does it, the innermost braces first: `${A}`, `${A:-default}`, `${A:+instead}`, `${A:?error}`."""

    def value(match: re.Match[str]) -> str:
        name, operator, word = match.groups()
        given = env.get(name, "")
        if operator == "+":
            return word if given else ""
        assert given or operator != "?", f"{name}: {word}"
        return given or (word if operator == "-" else "")

    while (after := VARIABLE.sub(value, text)) != text:
        text = after
    return text


def services_of(env: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(interpolated(COMPOSE, env))["services"]
    return found


SERVICES = services_of(GIVEN)
ROLES = {name: service for name, service in SERVICES.items() if service["image"] == "paperwire"}
LASTING = {name: role for name, role in ROLES.items() if not role["healthcheck"].get("disable")}


# ── what the file says ────────────────────────────────────────────────────────────────────────────────────────


def test_every_role_of_the_design_is_there_from_one_image() -> None:
    workers = {"worker-poll", "worker-match", "worker-deliver", "worker-slow"}
    assert set(ROLES) == {"migrate", "web", "scheduler"} | workers
    assert {role["build"] for role in ROLES.values()} == {"."}
    assert not any("build" in service for name, service in SERVICES.items() if name not in ROLES)


def queues_of(role: Mapping[str, Any]) -> list[str]:
    queues: str = role["command"][role["command"].index("--queues") + 1]
    return queues.split(",")


WORKERS = {name: queues_of(role) for name, role in ROLES.items() if name.startswith("worker-")}


def test_the_workers_together_serve_every_queue() -> None:
    assert sorted(queue for queues in WORKERS.values() for queue in queues) == sorted(QUEUES)


def test_every_worker_gets_heartbeats_here_and_in_up() -> None:
    in_up = {name: queues.split(",") for name, (queues, _) in up.WORKERS.items()}
    for name, queues in (WORKERS | in_up).items():
        assert set(queues) & set(HEARTBEAT_QUEUES), f"{name} serves no queue that takes heartbeats"


def test_roles_start_when_servers_answer_and_the_schema_is_there() -> None:
    healthy, done = {"condition": "service_healthy"}, {"condition": "service_completed_successfully"}
    assert ROLES["migrate"]["depends_on"] == {"postgres": healthy}
    assert ROLES["migrate"]["restart"] == "no"
    for role in LASTING.values():
        assert role["depends_on"] == {"postgres": healthy, "valkey": healthy, "migrate": done}
        assert role["restart"] == "unless-stopped"
    assert all(SERVICES[name]["healthcheck"]["test"] for name in ("postgres", "valkey"))


def test_the_database_lies_where_the_image_of_18_keeps_it() -> None:
    assert SERVICES["postgres"]["image"] == "pgvector/pgvector:pg18"
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert "postgres" in yaml.safe_load(COMPOSE)["volumes"]


def test_the_roles_sign_in_as_the_user_that_the_database_makes() -> None:
    made = SERVICES["postgres"]["environment"]
    password = ROLES["migrate"]["environment"]["PAPERWIRE_DATABASE_ROLE_PASSWORD"]
    for name, role in ROLES.items():
        url = urlsplit(role["environment"]["PAPERWIRE_DATABASE_URL"])
        owner = (made["POSTGRES_USER"], made["POSTGRES_PASSWORD"])
        assert (url.username, url.password) == (owner if name == "migrate" else (ROLE, password))
        assert url.path[1:] == made["POSTGRES_DB"]
        assert (url.hostname, url.port) == ("postgres", 5432)
        assert role["environment"]["PAPERWIRE_BROKER_URL"].startswith("redis://valkey:6379")


def test_the_broker_never_drops_a_message_to_make_room() -> None:
    command = SERVICES["valkey"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


def test_web_shows_the_mails_that_deliver_writes() -> None:
    folder = f"outbox:{ROLES['web']['environment']['PAPERWIRE_DATA_DIR']}/outbox"
    assert folder in ROLES["web"]["volumes"]
    assert folder in ROLES["worker-deliver"]["volumes"]


def test_only_pages_are_published_and_only_to_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"web": ["127.0.0.1:8400:8400"], "mail": ["127.0.0.1:8025:8025"]}
    assert ROLES["web"]["environment"]["PAPERWIRE_BIND"] == "0.0.0.0"


def test_a_missing_secret_key_is_said_before_anything_starts() -> None:
    with pytest.raises(AssertionError, match=r"PAPERWIRE_SECRET_KEY: put .* into \.env"):
        services_of({})


@pytest.mark.parametrize(
    ("env", "goes_to"),
    [
        ({}, ""),
        ({"COMPOSE_PROFILES": "dev"}, "smtp://mail:1025"),
        ({"COMPOSE_PROFILES": "dev", "PAPERWIRE_SMTP_URL": "smtp://relay"}, "smtp://relay"),
        ({"PAPERWIRE_SMTP_URL": "smtp://relay"}, "smtp://relay"),
    ],
)
def test_mail_goes_to_the_catcher_in_dev_only(env: dict[str, str], goes_to: str) -> None:
    services = services_of(GIVEN | env)
    assert {services[name]["environment"]["PAPERWIRE_SMTP_URL"] for name in ROLES} == {goes_to}
    assert [name for name, service in services.items() if service.get("profiles")] == ["mail"]


def test_everything_it_reads_and_sets_is_documented() -> None:
    documented = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    read = set(re.findall(r"\$\{(\w+)", COMPOSE))
    assert read <= documented, f"not in .env.example: {read - documented}"
    given = {name for role in ROLES.values() for name in role["environment"]}
    assert given <= documented | OUTSIDE_SETTINGS, f"no such settings: {given - documented}"


# ── what the image is made of ─────────────────────────────────────────────────────────────────────────────────


def words_after(instruction: str) -> list[str]:
    """What follows an instruction, once per time it stands in the Dockerfile."""
    return [line.partition(" ")[2] for line in DOCKERFILE if line.startswith(f"{instruction} ")]


def test_the_image_runs_paperwire_and_not_as_root() -> None:
    assert [yaml.safe_load(entry) for entry in words_after("ENTRYPOINT")] == [["paperwire"]]
    assert words_after("USER") == ["paperwire"]
    assert DOCKERFILE.index("USER paperwire") > max(i for i, line in enumerate(DOCKERFILE) if line.startswith("RUN"))


def test_the_image_gets_what_the_wheel_is_built_from_and_nothing_else() -> None:
    ignored, *kept = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in ("", "#")]
    assert ignored == "*"
    needed = {"services", "workers", "templates", "pyproject.toml", "README.md", "LICENSE", "requirements.lock"}
    assert {line[1:] for line in kept if line.startswith("!")} == needed
    assert all((ROOT / name).exists() for name in needed)
    assert any("--require-hashes -r requirements.lock" in line for line in words_after("RUN"))


# ── the roles at work ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Container:
    """A role's processes, where its container would be: in a folder of its own that stands for the file system."""

    role: Mapping[str, Any]
    root: Path
    standins: Mapping[str, str]
    ports: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        self.env = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}"}
        for name, value in self.role["environment"].items():
            self.env[name] = self.standins.get(name) or (f"{self.root}{value}" if value.startswith("/") else value)
        for folder in ("tmp", self.role["environment"]["PAPERWIRE_DATA_DIR"].lstrip("/")):
            (self.root / folder).mkdir(parents=True)
        for volume in self.role.get("volumes", []):
            name, _, place = volume.partition(":")
            shared = self.root.parent / "volumes" / name
            shared.mkdir(parents=True, exist_ok=True)
            (self.root / place.lstrip("/")).symlink_to(shared)
        for published in self.role.get("ports", []):
            with refused_port() as free:
                self.ports[published.rpartition(":")[2]] = str(free)

    @property
    def log(self) -> str:
        return (self.root / "log").read_text()

    def words(self, words: list[str]) -> list[str]:
        for port, free in self.ports.items():
            words = [re.sub(rf"\b{port}\b", free, word) for word in words]
        return words

    def start(self) -> None:
        entrypoint = yaml.safe_load(words_after("ENTRYPOINT")[0])
        with (self.root / "log").open("wb") as log:
            self.process = subprocess.Popen(
                self.words([*entrypoint, *self.role["command"]]),
                env=self.env, cwd=self.root, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def healthy(self) -> bool:
        assert self.process is None or self.process.poll() is None, f"it ended:\n{self.log}"
        kind, *test = self.role["healthcheck"]["test"]
        assert kind == "CMD"
        seconds = int(self.role["healthcheck"]["timeout"].removesuffix("s"))
        done = subprocess.run(
            self.words(test), env=self.env, cwd=self.root, capture_output=True, timeout=seconds, check=False
        )
        return done.returncode == 0

    def end(self) -> int:
        assert self.process
        self.process.terminate()
        try:
            return self.process.wait(int(self.role["stop_grace_period"].removesuffix("s")))
        finally:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def standins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The settings that name PostgreSQL and Valkey, with embedded ones in their place."""
    config = load(Settings, data_dir=tmp_path_factory.mktemp("servers"), database_url="", broker_url="")
    made = SERVICES["postgres"]["environment"]
    with servers(config) as (database_url, broker_url):
        with psycopg.connect(database_url.replace("+psycopg", "", 1), autocommit=True) as connection:
            user, database = sql.Identifier(made["POSTGRES_USER"]), sql.Identifier("its_own")
            connection.execute(sql.SQL("CREATE ROLE {} SUPERUSER LOGIN").format(user))
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, user))
        url = database_url.replace("postgres@/paperwire?", f"{made['POSTGRES_USER']}@/its_own?")
        assert url != database_url
        yield {"PAPERWIRE_DATABASE_URL": url, "PAPERWIRE_BROKER_URL": broker_url, "PAPERWIRE_BIND": "127.0.0.1"}


def as_role(standins: dict[str, str], role: Mapping[str, Any]) -> dict[str, str]:
    """The settings with the database user of a role."""
    user = urlsplit(role["environment"]["PAPERWIRE_DATABASE_URL"]).username
    url = re.sub(r"//\w+@", f"//{user}@", standins["PAPERWIRE_DATABASE_URL"])
    return {**standins, "PAPERWIRE_DATABASE_URL": url}


def test_a_role_that_has_fallen_silent_is_no_longer_healthy(tmp_path: Path) -> None:
    container = Container(ROLES["worker-poll"], tmp_path / "worker", {})
    pulse = Path(container.env["PAPERWIRE_HEARTBEAT"])
    pulse.touch()
    assert container.healthy()
    long_ago = time.time() - 151
    os.utime(pulse, (long_ago, long_ago))
    assert not container.healthy()


@pytest.mark.processes
def test_every_role_becomes_healthy_and_ends_when_told(standins: dict[str, str], tmp_path: Path) -> None:
    migrate = Container(ROLES["migrate"], tmp_path / "migrate", standins)
    migrate.start()
    assert migrate.process
    assert migrate.process.wait(TIMEOUT_SECONDS) == 0, migrate.log
    assert {urlsplit(role["environment"]["PAPERWIRE_DATABASE_URL"]).username for role in LASTING.values()} == {ROLE}
    containers = {name: Container(role, tmp_path / name, as_role(standins, role)) for name, role in LASTING.items()}
    for name, container in containers.items():
        assert not container.healthy(), f"{name} is healthy before it runs"
    with ExitStack() as ends:
        for container in containers.values():
            container.start()
            ends.callback(container.end)
        for name, container in containers.items():
            # Each look starts a process, which takes the time of those that are starting.
            until(container.healthy, f"{name} is healthy", HEALTHY_SECONDS, pause=0.5)
        codes = {name: container.end() for name, container in containers.items()}
    assert set(codes.values()) <= {0, -signal.SIGTERM}, codes  # uvicorn passes the signal on once it is done
