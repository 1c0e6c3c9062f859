"""The wheel, installed outside a checkout: it has every file it needs, even beside packages of the same names."""

import os
import signal
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request
import venv
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from zipfile import ZipFile

import psutil
import pytest

from tests.local.processes import until
from tests.support.sinks import refused_port

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]

ROOT = Path(__file__).parent.parent
READY_SECONDS = 120.0
END_SECONDS = 10.0


def run(*words: object, cwd: Path) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=clean_env(cwd),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def clean_env(home: Path) -> dict[str, str]:
    """An environment without the developer's settings, paths and caches."""
    return {"PATH": os.defpath, "HOME": str(home), "NO_PROXY": "127.0.0.1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("wheel")
    offline = ("--no-deps", "--no-index", "--no-build-isolation")
    run(sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", to, ROOT, cwd=to)
    (built,) = to.glob("paperwire-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with this wheel. Its dependencies come from the present environment."""
    place = tmp_path_factory.mktemp("installed")
    venv.create(place, symlinks=True)
    python = place / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=place)
    (site,) = place.glob("lib/python*/site-packages")
    # `.pth` files in these folders are not read, so the editable install is not found.
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "borrowed.pth").write_text("\n".join(sorted(borrowed)))
    return python


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A directory with packages of the same names, which must not be imported."""
    for name in ("services", "workers"):
        package = tmp_path / "elsewhere" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise RuntimeError('somebody else\\'s package')\n")
    return tmp_path / "elsewhere"


def files_below(folder: Path) -> set[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix() for path in found}


def test_the_wheel_has_both_packages_with_their_files_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    ours = {f"{package}/{name}" for package in ("services", "workers") for name in files_below(ROOT / package)}
    templates = {f"services/_templates/{name}" for name in files_below(ROOT / "templates")}
    assert names == ours | templates


@pytest.mark.parametrize(
    "name",
    [
        "services/_templates/email/digest.html",
        "services/web/static/htmx.min.js",
        "services/web/static/htmx.LICENSE.txt",
        "services/embedders/minilm/tokenizer.json",
        "services/embedders/minilm/NOTICE",
        "services/local/sample_announcement.txt",
        "services/store/migrations/script.py.mako",
        "services/store/migrations/versions/0001_initial.py",
        "paperwire-{version}.dist-info/licenses/LICENSE",
        "paperwire-{version}.dist-info/entry_points.txt",
    ],
)
def test_the_wheel_has_every_file_that_is_not_code(wheel: Path, name: str) -> None:
    with ZipFile(wheel) as archive:
        assert archive.read(name.format(version=wheel.name.split("-")[1]))


def test_up_delivers_the_sample_from_a_directory_with_packages_of_the_same_names(
    installed: Path, elsewhere: Path, tmp_path: Path
) -> None:
    where = "import services, workers; print(services.__file__, workers.__file__, sep='\\n')"
    for path in run(installed, "-P", "-c", where, cwd=elsewhere).splitlines():
        assert Path(path).is_relative_to(installed.parent.parent)
    data_dir, log = tmp_path / "data", tmp_path / "log"
    with refused_port() as port:
        pass
    with log.open("wb") as output:
        up = subprocess.Popen(
            [installed.with_name("paperwire"), "up", "--sample", "--port", str(port), "--data-dir", str(data_dir)],
            cwd=elsewhere, env=clean_env(tmp_path), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        outbox = data_dir / "outbox"
        arrived = until(lambda: log_of(up, log) and sorted(outbox.glob("*.eml")), "the digest is there", READY_SECONDS)
        until(lambda: answers(port), "the page answers", READY_SECONDS)
        assert_is_digest(arrived[0].read_bytes())
        children = psutil.Process(up.pid).children(recursive=True)
        up.send_signal(signal.SIGTERM)
        assert up.wait(END_SECONDS) == 0
    finally:
        up.kill()
        up.wait()
    until(lambda: not any(child.is_running() for child in children), "every child has ended", END_SECONDS)
    assert "somebody else" not in log.read_text()


def log_of(up: "subprocess.Popen[bytes]", log: Path) -> bool:
    assert up.poll() is None, f"it ended:\n{log.read_text()}"
    return True


def answers(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def assert_is_digest(mail: bytes) -> None:
    message = message_from_bytes(mail, policy=default)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    for part in (text, html):
        content = part.get_content()
        assert "WebAgent-R1: Training Web Agents via" in content, "the paper"
        assert "https://arxiv.org/" in content, "its link"
        assert "Language model agents" in content, "the subscription that it matched"
