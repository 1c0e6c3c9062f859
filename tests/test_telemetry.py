"""What a line of the log contains."""

import subprocess
import sys

PROGRAM = """
from services.telemetry import configure_logging, log
configure_logging()
log.info("delivery sent", delivery=7, why=None, note="", zero=0)
"""


def test_a_line_has_no_empty_fields() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    line = done.stderr.strip()
    assert "delivery sent" in line
    assert "delivery=7" in line
    assert "zero=0" in line
    assert "why" not in line
    assert "note" not in line
