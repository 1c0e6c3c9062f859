"""The names of sources as people know them."""

_NAMES = {"arxiv": "arXiv", "biorxiv": "bioRxiv", "medrxiv": "medRxiv", "daily-papers": "Daily Papers"}


def describe(kind: str, location: str) -> str:
    """`arXiv cs.LG`, `Daily Papers`; the location of a feed; `an imported listing`."""
    if kind in _NAMES:
        return f"{_NAMES[kind]} {location}".strip()
    return location or "an imported listing"
