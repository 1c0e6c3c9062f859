"""The samples beside the tests, read as their source reads them."""

from datetime import date
from pathlib import Path

from services.domain.papers.paper import Entry, Listing
from services.plugins import source

SAMPLES = Path(__file__).parent.parent / "data" / "listings"
DAY = date(2026, 5, 30)


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def parse(kind: str, body: bytes, day: date = DAY) -> Listing:
    return source(kind).parse(body, day=day)


def ids(entry: Entry) -> list[str]:
    return [str(identifier) for identifier in entry.identifiers]
