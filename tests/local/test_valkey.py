import os

import pytest
import redis
from kombu import Connection

from services.local import redis_url, servers
from services.local.datadir import DataDir
from services.local.process import processes_in
from services.local.valkey import Valkey
from services.settings import Settings
from tests.local.processes import alive, until

pytestmark = pytest.mark.processes


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings with an external database, which these tests do not use."""
    return settings.model_copy(update={"database_url": type(settings.database_url)("postgresql:///elsewhere")})


def test_celery_and_redis_py_can_both_connect(settings: Settings) -> None:
    with servers(settings) as (_, url):
        with Connection(url) as connection:
            connection.ensure_connection(max_retries=1, timeout=3)
            queue = connection.SimpleQueue("a queue")
            queue.put({"stage": "match"})
            assert queue.get(timeout=3).payload == {"stage": "match"}
            queue.close()
        with redis.Redis.from_url(redis_url(url)) as client:
            assert client.ping()


def test_it_persists_and_evicts_nothing_and_its_socket_is_private(settings: Settings) -> None:
    with servers(settings) as (_, url), redis.Redis.from_url(redis_url(url)) as client:
        wanted = {"save": "", "appendonly": "no", "maxmemory-policy": "noeviction", "port": "0"}
        assert {name: client.config_get(name)[name] for name in wanted} == wanted
        assert (settings.data_dir / "run" / "valkey" / "valkey.sock").stat().st_mode & 0o077 == 0


def test_a_killed_valkey_is_restarted(settings: Settings) -> None:
    with servers(settings) as (_, url), redis.Redis.from_url(redis_url(url)) as client:
        number = int(client.info()["process_id"])
        os.kill(number, 9)
        until(lambda: not alive(number), "it has ended")

        def answers() -> bool:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

        assert until(answers, "it answers again")


def test_an_orphaned_valkey_is_ended_before_a_new_one_starts(settings: Settings) -> None:
    server = Valkey(DataDir.at(settings.data_dir))
    server.prepare()
    orphan = server.spawn()
    try:
        until(lambda: server.problem() is None, "the orphan answers")
        with servers(settings):
            assert not alive(orphan.pid)
            assert len(processes_in("valkey-server", settings.data_dir / "valkey")) == 1
    finally:
        orphan.kill()
        orphan.wait()


def test_a_url_without_a_unix_socket_is_unchanged() -> None:
    assert redis_url("redis://localhost:6379/2") == "redis://localhost:6379/2"
    assert redis_url("redis+socket:///run/valkey.sock?virtual_host=2") == "unix:///run/valkey.sock?db=2"
