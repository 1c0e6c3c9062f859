import pytest

from services.domain.sources.names import describe


@pytest.mark.parametrize(
    ("kind", "location", "name"),
    [
        ("arxiv", "cs.LG", "arXiv cs.LG"),
        ("daily-papers", "", "Daily Papers"),
        ("feed", "https://example.org/feed", "https://example.org/feed"),
        ("jsonl", "", "an imported listing"),
    ],
)
def test_a_source_has_the_name_that_people_know(kind: str, location: str, name: str) -> None:
    assert describe(kind, location) == name
