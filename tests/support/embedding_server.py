"""A local server that answers OpenAI's `POST /v1/embeddings`, well or as badly as it is told to.

`python -m tests.support.embedding_server PORT` serves the packaged model, for trying things out by hand.
"""

import json
import signal
import sys
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support.sinks import Answer, Asked, HttpSink

PATH = "/v1/embeddings"
Embed = Callable[[Sequence[str]], NDArray[np.float32]]


def by_words(texts: Sequence[str], dimensions: int = 24) -> NDArray[np.float32]:
    """A bag of words, each a direction of its own; like texts are close."""
    rows = [np.ones(dimensions)]
    for text in texts:
        words = [np.random.default_rng(zlib.crc32(word.encode())).normal(size=dimensions) for word in text.split()]
        rows.append(np.sum([rows[0] * 0.1, *words], axis=0))
    return np.array(rows[1:], np.float32)


class EmbeddingServer(HttpSink):
    """`embed` makes the vectors, which need no length of their own; `refuses` says which texts it will not take."""

    def __init__(self, embed: Embed = by_words, port: int = 0, model: str = "words") -> None:
        super().__init__(port)
        self.embed, self.model = embed, model
        self.refuses: Callable[[str], bool] = lambda text: False
        self.scripted: list[Answer] = []
        """Given before anything else."""
        self.judge = self._judge

    @property
    def setting(self) -> str:
        return f"openai:{self.url}/v1#{self.model}"

    @property
    def asked(self) -> list[list[str]]:
        """The texts of each request."""
        return [json.loads(one.body)["input"] for one in self.to(PATH)]

    def say(self, *answers: Answer | dict[str, Any] | list[Any]) -> None:
        """The next answers: as they are, or as JSON."""
        self.scripted += [one if isinstance(one, Answer) else Answer(body=json.dumps(one)) for one in answers]

    def _judge(self, asked: Asked) -> Answer:
        if self.scripted:
            return self.scripted.pop(0)
        if asked.path != PATH:
            return Answer(status=404, body="")
        texts = json.loads(asked.body)["input"]
        if any(self.refuses(text) for text in texts):
            return Answer(status=400, body='{"error": {"message": "too long"}}')
        return Answer(body=json.dumps(embeddings(self.embed(texts).tolist())))


def embeddings(rows: Sequence[Any]) -> dict[str, Any]:
    """The answer of these vectors, the last first: `index` says which is which."""
    items = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
    return {"object": "list", "data": items[::-1], "model": "words"}


def main() -> None:
    from services import plugins

    minilm = plugins.embedder("minilm")
    with EmbeddingServer(minilm.embed, int(sys.argv[1])) as server:
        print(server.setting, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
