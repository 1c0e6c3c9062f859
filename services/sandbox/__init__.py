"""The sandbox: listings are parsed in a child process that may be killed, so that no bytes can end the worker.

Open process.py first, which is the parent's side; child.py is the child's, confinement.py is what the
child gives up, and codec.py is what passes between them.
"""

from services.sandbox.process import Limits, ParserProcess, close, parse

__all__ = ["Limits", "ParserProcess", "close", "parse"]
