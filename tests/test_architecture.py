"""What STYLE and ARCHITECTURE promise of the code, checked: layers, sizes, names, documents, templates, schema."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median, quantiles

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from jinja2 import nodes
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from services import plugins, render
from services.settings import Configured, load
from services.store.db.tables import metadata

ROOT = Path(__file__).parent.parent
KINDS = ("sources", "notifiers", "embedders")
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}
RETIRED = {
    *("address", "answers", "archive", "background", "backlog", "by_hand", "clean", "cleaning", "closeness"),
    *("desk", "drought", "due", "encoding", "failures", "follow_up", "followed", "freshness", "headers", "hold"),
    *("house", "identity", "importing", "int8_product", "interest_index", "interest_loops", "keeper", "keeping"),
    *(
        "launcher",
        "ledger",
        "lexemes",
        "lexical",
        "locks",
        "network",
        "notices",
        "overview",
        "pace",
        "people",
        "phrases",
    ),
    *(
        "politeness",
        "ready",
        "recover",
        "reference",
        "remind",
        "rests",
        "round",
        "runs",
        "sending",
        "serving",
        "session",
    ),
    *("share", "shown", "slots", "standing", "trace", "vault", "visit", "wishes", "words"),
}
"""Names of modules that the field does not use, with docs/glossary.md for those that replace them."""
UNTYPED_ROW = re.compile(r"\bRow\b|(dict|Mapping)\[str, (Any|object)\]")
STATEMENT_PARAMETERS = {
    "services/store/db/records.py:fetch",
    "services/store/db/records.py:fetch_all",
    "services/store/papers/bulk.py:write",
}
"""Functions that take the parameters of any SQL statement, which no record can name."""
FOLDERS = {".ci", "benchmarks", "docs", "services", "templates", "tests", "workers"}

TEMPLATE = re.compile(r"[a-z_/]+\.html|email/[a-z_]+\.txt")

# The domain takes what computes and nothing that acts: no files, sockets, processes, chance, clocks or logs.
ACTING = {
    *("asyncio", "ftplib", "getpass", "glob", "http", "imaplib", "importlib", "io", "logging", "multiprocessing", "os"),
    *(
        "pathlib",
        "platform",
        "random",
        "sched",
        "secrets",
        "select",
        "shutil",
        "signal",
        "smtplib",
        "socket",
        "sqlite3",
    ),
    *("ssl", "subprocess", "sys", "tempfile", "time", "urllib.request", "webbrowser"),
}
COMPUTING = {"Stemmer", "brotli", "idna", "numba", "numpy", "onnxruntime", "scipy"}
CLOCKS = {"now", "today", "utcnow"}

COMMITS = {
    "services/store/maintenance/migrate.py": (
        "Alembic needs a connection of its own: its lock outlives each migration's transaction"
    )
}
"""Who commits besides store/db/database.py, and why."""


def tracked() -> list[str]:
    """The files of the repository, new ones too."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


@cache
def code() -> dict[str, ast.Module]:
    """Every module of services and workers by its path; migrations record the past and follow no rule of today."""
    paths = (path for package in ("services", "workers") for path in (ROOT / package).rglob("*.py"))
    found = {path.relative_to(ROOT).as_posix(): path for path in sorted(paths) if "versions" not in path.parts}
    return {name: ast.parse(path.read_text(), name) for name, path in found.items()}


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Every call by the last word of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "attr", getattr(node.func, "id", "")), node


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def documentation() -> str:
    """The pages for users. Decision records and experiments mention settings without describing them."""
    return "\n".join(path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


# ── layers, names and sizes ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module", autouse=True)
def _print_sizes(request: pytest.FixtureRequest) -> None:
    """Prints the lines of files and functions; the aims are in STYLE, no test enforces them."""
    files = [len((ROOT / name).read_text().splitlines()) for name in code()]
    functions = [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for tree in code().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        for what, sizes in (("file", files), ("function", functions)):
            print(
                f"\nlines a {what}: median {median(sizes):g}, p90 {quantiles(sizes, n=10)[-1]:g}, max {max(sizes)}",
                end="",
            )


def test_the_layers_hold() -> None:
    lint = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    done = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_module_names_say_what_is_in_them() -> None:
    names = {part.lstrip("_") for name in code() for part in Path(name).with_suffix("").parts}
    assert names & VAGUE == set()
    assert names & RETIRED == set()


def test_every_package_says_which_file_to_open_first() -> None:
    for name, tree in code().items():
        path = ROOT / name
        if path.name != "__init__.py" or "migrations" in path.parts:
            continue
        docstring = ast.get_docstring(tree) or ""
        assert docstring, f"{name} does not say what the package is"
        if len(tree.body) == 1:  # A package with code in its __init__ begins there.
            named = re.search(r"Open\s+`?([\w/]+\.py)`?\s+first", docstring)
            assert named, f"{name} does not say which file to open first"
            assert (path.parent / named[1]).is_file(), f"{name} names {named[1]}, which does not exist"


def test_the_store_takes_and_returns_typed_records() -> None:
    untyped: dict[str, list[str]] = {}
    for name, tree in code().items():
        if not name.startswith("services/store/"):
            continue
        package = ".".join(Path(name).parts[:-1])
        for function, signature in public_signatures(tree):
            if UNTYPED_ROW.search(signature) and f"{name}:{function}" not in STATEMENT_PARAMETERS:
                untyped.setdefault(package, []).append(f"{name}:{function}")
    assert untyped == {}


def public_signatures(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The name and annotations of every public function, and of every public method of a public class."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    for owner in (tree, *classes):
        for node in owner.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                arguments = [argument for argument in ast.walk(node.args) if isinstance(argument, ast.arg)]
                annotations = [node.returns, *(argument.annotation for argument in arguments)]
                yield node.name, " ".join(ast.unparse(annotation) for annotation in annotations if annotation)


def test_the_top_level_is_the_designs() -> None:
    assert {name.split("/")[0] for name in tracked() if "/" in name} == FOLDERS
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"packages": ["services", "workers"], "force-include": {"templates": "services/_templates"}}


# ── the domain, transactions ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [name for name in code() if name.startswith("services/domain/")])
def test_the_domain_only_computes(name: str) -> None:
    for module in imports(code()[name]):
        top = module.split(".")[0]
        if top == "services":
            assert module.startswith(("services.domain", "services.errors")), module
        else:
            assert top in sys.stdlib_module_names | COMPUTING, module
            assert not any(module == acting or module.startswith(f"{acting}.") for acting in ACTING), module
    called = {function for function, _ in calls(code()[name])}
    assert not called & (CLOCKS | {"open", "print", "input"})


def test_one_place_opens_transactions_and_commits() -> None:
    # `domain.commit(state)` only computes the next state: a database's commit takes no argument.
    commits = {
        name for name, tree in code().items() for word, call in calls(tree)
        if word == "commit" and isinstance(call.func, ast.Attribute) and not call.args
    }  # fmt: skip
    assert commits == set(COMMITS)
    begins = {name for name, tree in code().items() for word, _ in calls(tree) if word in ("begin", "begin_nested")}
    assert begins == {"services/store/db/database.py"}


def test_the_migrations_make_the_tables_that_the_code_knows(postgres_url: str) -> None:
    engine = create_engine(postgres_url, poolclass=NullPool)
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


# ── settings and plugins are documented ───────────────────────────────────────────────────────────────────────


def plugin_names(kind: str) -> list[str]:
    names = [module.name for module in pkgutil.iter_modules([str(ROOT / "services" / kind)])]
    return [name for name in names if not name.startswith("_")]


def configured() -> list[type[Configured]]:
    """Settings, and those of every plugin, found as the plugins are."""
    for kind in KINDS:
        for name in plugin_names(kind):
            importlib.import_module(f"services.{kind}.{name}")
    return Configured.__subclasses__()


def variables() -> set[str]:
    return {f"PAPERWIRE_{field}".upper() for kind in configured() for field in kind.model_fields}


def example() -> set[str]:
    return set(re.findall(r"^#? ?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))


def test_every_setting_is_documented() -> None:
    assert {"PAPERWIRE_DATABASE_URL", "PAPERWIRE_SMTP_URL", "PAPERWIRE_SLACK_API_URL"} <= variables()
    assert variables() <= example(), f"not in .env.example: {variables() - example()}"
    undocumented = {name for name in variables() if f"`{name}`" not in documentation()}
    assert not undocumented, "neither in README.md nor in docs/"


def test_no_document_names_a_setting_that_is_none() -> None:
    for_compose = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert example() <= variables() | for_compose
    written = set(re.findall(r"`(PAPERWIRE_[A-Z_]+)", documentation()))
    assert written <= variables()


def test_the_example_of_settings_holds_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    for kind in configured():
        assert load(kind, _env_file=ROOT / ".env.example") == load(kind, _env_file=None)


@pytest.mark.parametrize("kind", KINDS)
def test_every_plugin_has_a_test(kind: str) -> None:
    for name in plugin_names(kind):
        assert (ROOT / "tests" / kind / f"test_{name}.py").exists(), f"{kind}/{name} has no test"


def test_every_plugin_has_its_line_in_the_documentation() -> None:
    summaries = {kind: source.summary for kind, source in plugins.sources().items()}
    summaries |= {kind: notifier.summary for kind, notifier in plugins.notifiers().items()}
    for kind, summary in summaries.items():
        assert re.search(rf"^\| `{kind}` \|.*{re.escape(summary)}", documentation(), re.MULTILINE), kind
    for name in plugin_names("embedders"):
        assert f"`{name}`" in documentation(), f"embedder {name}"


# ── templates, files ──────────────────────────────────────────────────────────────────────────────────────────


def test_every_template_that_is_rendered_exists_and_every_one_is_used() -> None:
    environment = render.environment()
    present = set(environment.list_templates())
    named = {
        node.value for tree in code().values() for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and TEMPLATE.fullmatch(node.value)
    }  # fmt: skip
    used = {name if name in present else f"web/{name}" for name in named}
    for name in present:
        environment.get_template(name)  # it compiles
        parsed = environment.parse((render.templates() / name).read_text())
        used |= {node.value for node in parsed.find_all(nodes.Const) if TEMPLATE.fullmatch(str(node.value))}
    assert used == present


def test_no_file_names_an_index_host_or_a_place_of_one_machine() -> None:
    # In patterns that do not match themselves: this file is one of those looked at.
    patterns = ("pypi[.]org", "pythonhosted[.]org", "npmjs[.](org|com)", "deb[.]debian[.]org", "[.][.]/shared")
    places = ("/work[/]", "/home/[a-z]+/", "/Users[/]")
    forbidden = re.compile("|".join((*patterns, *places)).encode())
    found = {name for name in tracked() if forbidden.search((ROOT / name).read_bytes())}
    assert not found
