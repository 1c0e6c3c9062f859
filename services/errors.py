"""What can go wrong, as one tree; each message is one line that a person can act on.

PaperwireError
├── ConfigError      a setting or an option that cannot be used
├── SourceError      bytes that are not the listing they should be, or a location that cannot be one
├── QueryError       a query that does not parse; knows the position
├── TargetError      a channel's target that cannot be used
├── EmbedderError    the embedder is down or answers nonsense
├── NotFound         nobody has such an id (or not this account)
├── Conflict         it exists already, or its state forbids the step
└── LeaseLost        somebody else holds the row now: stop without a trace
"""


class PaperwireError(Exception):
    """Base of all errors whose text is meant for people."""


class ConfigError(PaperwireError):
    pass


class SourceError(PaperwireError):
    pass


class QueryError(PaperwireError):
    """A query that cannot be read. `position` counts characters from 0 in `query`."""

    def __init__(self, message: str, query: str, position: int) -> None:
        super().__init__(f"{message} (at character {position + 1})")
        self.message = message
        self.query = query
        self.position = position

    def caret(self) -> str:
        """The query with a caret under the place, two lines, shortened around the place when long."""
        start = max(0, self.position - 60)
        line = self.query[start : self.position + 30].replace("\n", " ")
        return f"{line}\n{' ' * (self.position - start)}^"


class TargetError(PaperwireError):
    pass


class EmbedderError(PaperwireError):
    """`after`: seconds until the embedder wants to be asked again, where it said so."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class NotFound(PaperwireError):
    pass


class Conflict(PaperwireError):
    pass


class LeaseLost(PaperwireError):
    pass
