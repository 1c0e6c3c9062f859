from collections.abc import Iterator
from pathlib import Path

import pytest

from services.cli import sample
from services.cli.context import CommandContext, command_context
from services.store.accounts import accounts
from tests.cli.conftest import Paperwire


@pytest.fixture
def context(paperwire: Paperwire) -> Iterator[CommandContext]:
    with command_context() as context:
        with context.db.transaction() as tx:
            accounts.add(tx, "ada@example.org", "UTC", operator=True)
        yield context


def test_the_report_counts_the_papers_of_the_sample_listing_only(
    paperwire: Paperwire, context: CommandContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "STARTUP_TIMEOUT_SECONDS", 0.0)
    assert sample.load(context)
    before: list[str] = []
    sample.report(context, before.append, "http://x")
    assert before[0] == "papers:  93 of the sample listing are in the archive"
    other = tmp_path / "other.jsonl"
    other.write_text('{"id": "x:1", "title": "A paper of another import", "first_seen": "2025-05-30"}\n')
    assert paperwire("import", other).code == 0
    after: list[str] = []
    sample.report(context, after.append, "http://x")
    assert after == before
