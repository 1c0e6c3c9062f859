"""Papers in quarantine, from the command line."""

from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from services.store.db.database import Database
from services.store.db.tables import paper, quarantine
from tests.cli.conftest import Paperwire


@pytest.mark.usefixtures("archive")
def test_quarantined_papers_are_listed_and_released(paperwire: Paperwire, db: Database) -> None:
    assert paperwire("quarantine", "list").out == "no paper is in quarantine\n"
    with db.transaction() as tx:
        tx.execute(insert(quarantine).values(paper_id=1, shard=0, error="2 workers were lost"))
    [row] = paperwire("quarantine", "list", "--json").json()
    assert (row["paper_id"], row["stage"], row["shard"], row["error"]) == ("1", "matching", 0, "2 workers were lost")
    assert "2 workers were lost" in paperwire("quarantine", "list").out
    audited = paperwire("audit", "--json").json()
    assert (audited["papers_set_aside"], audited["clean"]) == (1, True)
    answer = paperwire("quarantine", "release", 1)
    assert answer.code == 0
    assert "released" in answer.out
    with db.transaction() as tx:
        assert tx.execute(select(quarantine)).all() == []
    assert "paper 1 is not in quarantine" in paperwire("quarantine", "release", 1).error()
    assert "no paper" in paperwire("quarantine", "release", "arxiv:9999.99999").error()


@pytest.mark.usefixtures("archive")
def test_titles_in_quarantine_are_shown_without_latex(paperwire: Paperwire, db: Database) -> None:
    with db.transaction() as tx:
        tx.execute(update(paper).where(paper.c.id == 1).values(title="Lines of CO$_2$"))
        tx.execute(insert(quarantine).values(paper_id=1, shard=0, error="2 workers were lost"))
    assert paperwire("quarantine", "list", "--json").json()[0]["title"] == "Lines of CO₂"


def test_why_names_the_quarantine(paperwire: Paperwire, ada: str, archive: Path, db: Database) -> None:
    assert paperwire("subscribe", ada, "--name", "Mine", "--query", "no such words").code == 0
    with db.transaction() as tx:
        tx.execute(insert(quarantine).values(paper_id=1, shard=0, error="2 workers were lost"))
    steps = {step["stage"]: step["what"] for step in paperwire("why", 1, 1, "--json").json()}
    assert "2 workers were lost" in steps["quarantined"]
