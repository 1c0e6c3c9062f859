"""What kombu's Redis transport lacks as a broker's client."""

from kombu.transport import redis


class QoS(redis.QoS):
    """A message whose acknowledgement got lost takes none of the worker's places any more.

    With kombu's own each one keeps its place, and a worker that lost as many as it may have in hand takes no message
    until it is started anew (celery/celery issue 2415). The message itself comes again when its time is over, and
    finds nothing to do.
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
    """For every connection of this process."""
    redis.Channel.QoS = QoS
