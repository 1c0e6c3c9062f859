"""The documents: each command exists with its options, each link leads somewhere, and the README stays short."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer

from services.cli.app import app

ROOT = Path(__file__).parent.parent
MAX_README_LINES = 110

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(paperwire [^`\n]+)`")
COMMENT = re.compile(r"\s+#\s.*$")
# What may stand before the name of the command.
IN_CONTAINER = re.compile(r"^docker compose exec \S+ (?=paperwire )")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|<img [^>]*?src=\"([^\"]+)\"")
OTHER_PROGRAMS = {"docker", "echo", "make"}


def documents() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ── commands ──────────────────────────────────────────────────────────────────────────────────────────────────


def shell_lines(text: str) -> Iterator[str]:
    """The commands of the `sh` blocks of a document: comments removed, continued lines joined."""
    for _, language, block in FENCE.findall(text):
        if language == "sh":
            for line in block.replace("\\\n", " ").splitlines():
                if command := COMMENT.sub("", line).strip():
                    yield IN_CONTAINER.sub("", command)


def commands_of_compose() -> Iterator[str]:
    for line in (ROOT / "docker-compose.yml").read_text().splitlines():
        if found := re.fullmatch(r"#\s+docker compose exec \S+ (paperwire .+?)(?:\s{2,}\(.*\))?", line):
            yield found[1]


def written_commands() -> list[tuple[str, str]]:
    """(document, command) of every complete command that a reader may copy."""
    found = [(name_of(path), line) for path in documents() for line in shell_lines(path.read_text())]
    return found + [("docker-compose.yml", line) for line in commands_of_compose()]


def parse(words: list[str]) -> None:
    """Parses what follows `paperwire` as the command line would. Raises TyperException, and AssertionError when there
    is no such command."""
    command, words = resolve(words)
    assert not hasattr(command, "commands"), "a command must follow this group"
    command.make_context(command.name, words)


def resolve(words: list[str]) -> tuple[typer.core.TyperCommand, list[str]]:
    """The command, or the group, that the first words name, and the words after its name."""
    command = typer.main.get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"there is no command {words[0]!r} here: {', '.join(command.commands)}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def problem(line: str) -> str:
    """What is wrong with one complete command; empty when nothing is."""
    program, *words = shlex.split(line)
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        return "" if words[:1] and words[0] in targets else f"make has no target {' '.join(words[:1])!r}"
    if program != "paperwire":
        return "" if program in OTHER_PROGRAMS else f"{program!r} is no known program"
    try:
        parse(words)
    except (AssertionError, typer.TyperException) as error:
        return str(error) or type(error).__name__
    return ""


def test_commands_are_found_in_the_documents() -> None:
    where = {document for document, line in written_commands() if line.startswith("paperwire ")}
    assert {"README.md", "docs/backup.md", "docs/deployment.md", "docs/webhooks.md", "docker-compose.yml"} <= where


@pytest.mark.parametrize(("document", "line"), written_commands())
def test_every_command_in_a_block_can_be_parsed(document: str, line: str) -> None:
    assert problem(line) == ""


@pytest.mark.parametrize(
    "line",
    [
        "paperwire sorce add arxiv cs.LG",
        "paperwire source ad arxiv cs.LG",
        "paperwire source add arxiv cs.LG --announced",
        "paperwire source add",
        "paperwire why arxiv:2506.01234",
        "paperwire hold",
        "paperwrie audit",
        "make tests",
    ],
)
def test_a_wrong_command_is_noticed(line: str) -> None:
    assert problem(line)


def test_commands_within_sentences_exist() -> None:
    """These may be incomplete (`paperwire channel add … --confirmed`), so only names and options are compared."""
    wrong = []
    for path in documents():
        for line in INLINE.findall(FENCE.sub("", path.read_text())):
            try:
                command, words = resolve([word for word in line.split()[1:] if word != "…"])
            except AssertionError as error:
                wrong.append((name_of(path), line, str(error)))
                continue
            options = {"--help", *(option for parameter in command.params for option in parameter.opts)}
            wrong += [(name_of(path), line, word) for word in words if word.startswith("--") and word not in options]
    assert not wrong


# ── links ─────────────────────────────────────────────────────────────────────────────────────────────────────


def links(text: str) -> list[str]:
    """The relative targets of a document's links and pictures."""
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))
    found = [link or picture for link, picture in LINK.findall(prose)]
    return [target for target in found if not re.match(r"[a-z]+:", target)]


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors that GitHub gives to a document's headings."""
    headings = re.findall(r"^#+ +(.+?)\s*$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


def dead_links(path: Path, text: str) -> list[str]:
    dead = []
    for link in links(text):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        alive = target.is_relative_to(ROOT) and target.exists()
        if not alive or (anchor and anchor not in anchors(target)):
            dead.append(link)
    return dead


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_every_link_leads_to_something(path: Path) -> None:
    assert dead_links(path, path.read_text()) == []


def test_a_dead_link_is_noticed() -> None:
    text = '[a](docs/queries.md) [b](docs/querys.md) [c](docs/queries.md#no-heading) <img src="docs/none.png">'
    assert dead_links(ROOT / "README.md", text) == ["docs/querys.md", "docs/queries.md#no-heading", "docs/none.png"]


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────


def missing_files(text: str) -> list[str]:
    """The files and folders in `code` that exist neither below the repository nor below services/."""
    named = re.findall(r"`((?:services|workers|tests|templates|docs|domain|store|flow|web)/[\w./-]*)`", text)
    return [name for name in named if not any((ROOT / start / name).exists() for start in ("", "services"))]


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "docs/glossary.md"])
def test_every_file_that_is_named_exists(name: str) -> None:
    assert missing_files((ROOT / name).read_text()) == []


def test_a_missing_file_is_noticed() -> None:
    assert missing_files("`workers/tasks.py` `domain/` `services/domain/desks.py`") == ["services/domain/desks.py"]


# ── the README ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= MAX_README_LINES


def test_the_readme_leads_to_every_page_of_the_documentation() -> None:
    linked = set(links((ROOT / "README.md").read_text()))
    assert {name_of(path) for path in (ROOT / "docs").glob("*.md")} <= linked
