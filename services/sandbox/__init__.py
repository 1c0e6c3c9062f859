"""Reading foreign bytes in a process of their own, which may be killed: whatever they are, the worker goes on."""

from services.sandbox.process import Allowance, ParserProcess, close, parse

__all__ = ["Allowance", "ParserProcess", "close", "parse"]
