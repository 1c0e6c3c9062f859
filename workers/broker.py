"""A fix of kombu's Redis transport."""

from kombu.transport import redis


class QoS(redis.QoS):
    """Frees a worker's prefetch slot if the acknowledgement of a message fails.

    kombu keeps the slot, so that a worker without free slots takes no message until it is restarted (celery/celery
    issue 2415). Redis delivers the message again after the visibility timeout, and it finds nothing to do.
    """

    def ack(self, delivery_tag: str) -> None:
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]
        except Exception:
            self._quick_ack(delivery_tag)
            raise

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        try:
            super().reject(delivery_tag, requeue=requeue)  # type: ignore[no-untyped-call]
        except Exception:
            self._quick_ack(delivery_tag)
            raise


def install() -> None:
    """Replaces kombu's class for every connection of this process."""
    redis.Channel.QoS = QoS
