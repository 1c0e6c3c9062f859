"""The error tree. Each message is one line that says what to do.

PaperwireError
├── ConfigError      a setting or an option that cannot be used
├── SourceError      bytes that are not a listing of the source, or a location that is not valid
├── QueryError       a query that does not parse; knows the position
├── TargetError      a channel's target that cannot be used
├── EmbedderError    the embedder is down or gives an unusable answer
├── SigninError      the sign-in service does not answer, or gives an answer that must not be trusted
├── NotFound         no row has this id, or it belongs to another account
├── Busy             too much is going on at the moment, or too much was asked for in a short time
├── Conflict         the row exists already, or its state forbids the step
└── LeaseLost        another worker holds the row now: abort without writing
"""


class PaperwireError(Exception):
    """Base of all errors whose message is shown to people."""


class ConfigError(PaperwireError):
    """`field`: the field of a form that is wrong, if the message is about one."""

    def __init__(self, message: str = "", *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class SourceError(PaperwireError):
    pass


class QueryError(PaperwireError):
    """A query that does not parse. `position` is the index of a character in `query`."""

    def __init__(self, message: str, query: str, position: int) -> None:
        super().__init__(f"{message} (at character {position + 1})")
        self.message = message
        self.query = query
        self.position = position

    def caret(self) -> str:
        """Two lines: the query, shortened around the position if it is long, and a caret under the position."""
        start = max(0, self.position - 60)
        line = self.query[start : self.position + 30].replace("\n", " ")
        return f"{line}\n{' ' * (self.position - start)}^"


class TargetError(PaperwireError):
    pass


class EmbedderError(PaperwireError):
    """`after`: seconds until the next request, if the embedding server asked for a pause."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class SigninError(PaperwireError):
    pass


class NotFound(PaperwireError):
    pass


class Busy(PaperwireError):
    pass


class Conflict(PaperwireError):
    pass


class LeaseLost(PaperwireError):
    pass
