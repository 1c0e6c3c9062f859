"""A child of the sandbox whose sources misbehave, each in the way that its kind says; the real ones read the rest."""

import os
import sys
import time
from datetime import date
from pathlib import Path

from services import plugins
from services.domain.papers.paper import Entry, Listing
from services.sandbox.child import parse as read
from services.sandbox.child import serve

LISTING = Listing(format="test", entries=(Entry(title="A paper"),))
KEPT: list[bytes] = []


def parse(kind: str, body: bytes, day: date) -> Listing:
    match kind:
        case "spins":
            while True:
                pass
        case "hoards":
            while True:
                KEPT.append(b"x" * 2**20)
        case "keeps":
            KEPT.append(b"x" * 200 * 2**20)
        case "sleeps":
            time.sleep(600)
        case "sleeps once":
            if not Path(os.fsdecode(body)).exists():
                Path(os.fsdecode(body)).touch()
                time.sleep(600)
        case "dies":
            os._exit(3)
        case "fails":
            raise KeyError("secret")
        case "chatters":
            os.write(1, b"noise" * 10_000)
            sys.stdout.write("noise" * 10_000)
            os.write(2, b"noise" * 10_000)
        case "overflows":
            return Listing(format="test", entries=tuple(Entry(title=f"A paper {n}" * 40) for n in range(1000)))
        case "has no measure":
            return Listing(format="test", entries=(Entry(title="long " * 1000), *LISTING.entries * 100_000))
        case _:
            return read(kind, body, day)
    return LISTING


if __name__ == "__main__":
    plugins.sources()
    serve(parse)
