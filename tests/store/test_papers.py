"""Finding papers by whatever name a person has."""

from datetime import UTC, date, datetime

import pytest

from services.domain.paper import Identifier, Paper
from services.errors import NotFound
from services.store import papers
from services.store.database import Database

NOW = datetime(2026, 5, 4, tzinfo=UTC)
ONE = Paper(
    id=7,
    title="One paper",
    identifiers=(Identifier("arxiv", "2605.00007"), Identifier("doi", "10.1/ab")),
    announced_on=date(2026, 5, 4),
    first_seen_at=NOW,
)


@pytest.fixture(autouse=True)
def archive(db: Database) -> None:
    with db.transaction() as tx:
        papers.insert_all(tx, [ONE], NOW)
        papers.identify(tx, [ONE])


@pytest.mark.parametrize("name", ["7", "id:7", "arxiv:2605.00007", "arxiv:2605.00007v2", "2605.00007", "doi:10.1/AB"])
def test_a_paper_has_several_names(db: Database, name: str) -> None:
    with db.transaction() as tx:
        assert papers.find(tx, name) == 7


@pytest.mark.parametrize("name", ["8", "id:abc", "²", "9" * 40, "arxiv:", "", "doi:10.1/x", "'; DROP TABLE paper"])
def test_what_names_no_paper_is_not_found(db: Database, name: str) -> None:
    with db.transaction() as tx, pytest.raises(NotFound):
        papers.find(tx, name)
