import gzip
import json
from pathlib import Path

import pytest

from tests.cli.conftest import LISTINGS, Paperwire

PAGE = LISTINGS / "daily_papers_page.txt"


def test_a_listing_is_new_once_and_known_afterwards(paperwire: Paperwire) -> None:
    first = paperwire("import", PAGE, "--json").json()
    again = paperwire("import", PAGE, "--json").json()
    assert (first["found"], first["new"], first["known"], first["skipped"]) == (5, 5, 0, 0)
    assert (again["found"], again["new"], again["known"]) == (5, 0, 5)


def test_a_damaged_entry_is_skipped_and_named(paperwire: Paperwire) -> None:
    answer = paperwire("import", LISTINGS / "papers.jsonl", "--json").json()
    assert answer["skipped"] == len(answer["skipped_entries"]) == 3
    assert {"where": "line 4", "reason": "it is no JSON"} in answer["skipped_entries"]
    answer = paperwire("import", LISTINGS / "papers.jsonl")
    assert answer.code == 0
    assert "3 skipped" in answer.out
    assert "skipped line 4: it is no JSON" in answer.out


def test_a_gzip_file_is_unpacked(paperwire: Paperwire, tmp_path: Path) -> None:
    packed = tmp_path / "page.gz"
    packed.write_bytes(gzip.compress(PAGE.read_bytes()))
    assert paperwire("import", packed, "--json").json()["new"] == 5


def test_a_listing_is_read_from_stdin(paperwire: Paperwire) -> None:
    assert paperwire("import", "-", "--json", stdin=PAGE.read_bytes()).json()["new"] == 5


def test_the_body_of_a_recorded_answer_is_read(paperwire: Paperwire, tmp_path: Path) -> None:
    record = tmp_path / "answer.json"
    body = (LISTINGS / "arxiv_api.xml").read_text()
    record.write_text(json.dumps({"url": "https://export.arxiv.org/api/query", "status_code": 200, "body": body}))
    plain = paperwire("import", LISTINGS / "arxiv_api.xml", "--json").json()
    assert paperwire("import", record, "--json").json()["known"] == plain["new"] > 0
    record.write_text(json.dumps({"url": "https://export.arxiv.org/api/query", "status_code": 503, "body": ""}))
    assert "status 503" in paperwire("import", record).error()


def test_the_day_of_the_announcement_is_an_option(paperwire: Paperwire) -> None:
    assert paperwire("import", PAGE, "--date", "2025-11-06").code == 0
    seen = paperwire("preview", "--query", "models", "--json").json()
    assert {day["date"] for day in seen["per_day"]} == {"2025-11-06"}
    assert "2025-11-06" in paperwire("import", PAGE, "--date", "yesterday").error()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("page.html", b"<html><body>Please sign in</body></html>", "page.html"),
        ("damaged.gz", gzip.compress(b"x" * 1000, mtime=0)[:20], "damaged"),
        ("noise.bin", bytes(range(256)), "noise.bin"),
        ("empty", b"", "empty"),
    ],
)
def test_a_file_that_is_no_listing_is_refused(
    paperwire: Paperwire, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    assert says in paperwire("import", file).error()


def test_a_file_that_cannot_be_read_is_refused(paperwire: Paperwire, tmp_path: Path) -> None:
    assert "No such file" in paperwire("import", tmp_path / "missing").error()
    assert "directory" in paperwire("import", tmp_path).error()
    assert "no format 'pdf'" in paperwire("import", PAGE, "--format", "pdf").error()


def test_a_file_that_unpacks_beyond_the_limit_is_refused(paperwire: Paperwire, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(bytes(201 * 2**20), compresslevel=1))
    assert "200 MiB" in paperwire("import", bomb).error()


def test_several_files_are_imported_and_one_that_is_no_listing_stops_none(paperwire: Paperwire, tmp_path: Path) -> None:
    broken = tmp_path / "broken.txt"
    broken.write_text("no listing")
    answer = paperwire("import", PAGE, broken, LISTINGS / "arxiv_api.xml")
    assert answer.code == 1
    first, second = answer.out.splitlines()[0], answer.out.splitlines()[-1]
    assert first.startswith(f"{PAGE}: 5 found, 5 new")
    assert f"{LISTINGS / 'arxiv_api.xml'}: " in second
    assert answer.err.startswith(f"error: {broken}: ")
    both = paperwire("import", PAGE, LISTINGS / "arxiv_api.xml", "--json").json()
    assert [one["file"] for one in both] == [str(PAGE), str(LISTINGS / "arxiv_api.xml")]
    assert [one["new"] for one in both] == [0, 0]


def test_a_directory_is_refused_with_what_to_type(paperwire: Paperwire, tmp_path: Path) -> None:
    assert f"name its files, for example {tmp_path}/*" in paperwire("import", tmp_path).error()
