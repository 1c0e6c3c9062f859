"""The command line: `paperwire`, or `python -P -m services.cli`. Open app.py first: it lists every command.

Commands import the database, numpy and FastAPI inside their functions, so that `paperwire --help` starts quickly.
"""

import sys


def main() -> None:
    from services.cli.app import run

    sys.exit(run(sys.argv[1:]))
