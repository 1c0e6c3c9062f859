"""The command line: `paperwire`, or `python -P -m services.cli`."""

import sys


def main() -> None:
    from services.cli.app import run

    sys.exit(run(sys.argv[1:]))
