"""A worker's connection to the broker when the broker stalls."""

import logging

import pytest
import redis
from kombu import Connection, Consumer
from kombu.message import Message

from services.local import redis_url, servers
from services.settings import Settings
from workers import broker

pytestmark = pytest.mark.processes


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With the URL of a database that this test does not use."""
    return settings.model_copy(update={"database_url": type(settings.database_url)("postgresql:///elsewhere")})


@pytest.mark.parametrize("answer", ["ack", "reject"])
def test_a_worker_takes_the_next_message_after_the_broker_lost_its_acknowledgement(
    settings: Settings, answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker.install()
    received: list[Message] = []
    with (
        servers(settings) as (_, url),
        redis.Redis.from_url(redis_url(url)) as client,
        Connection(url, transport_options={"socket_timeout": 0.2}) as connection,
    ):
        queue = connection.SimpleQueue("a queue")
        for stage in ("match", "notify"):
            queue.put({"stage": stage})
        queue.close()
        channel = connection.channel()
        with Consumer(channel, [queue.queue], callbacks=[lambda _, message: received.append(message)]) as consumer:
            consumer.qos(prefetch_count=1)
            connection.drain_events(timeout=5)
            client.client_pause(2_000)
            acknowledge = getattr(received[0], f"{answer}_log_error")
            acknowledge(logging.getLogger(), connection.connection_errors)
            assert f"Couldn't {answer}" in caplog.text
            client.client_unpause()
            connection.drain_events(timeout=5)
    assert [message.payload["stage"] for message in received] == ["match", "notify"]
