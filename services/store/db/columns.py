"""Columns and column types that several tables share."""

from enum import StrEnum
from typing import Generic, TypedDict, TypeVar
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, Column, Dialect, ForeignKey, Identity, Integer, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.dialects.postgresql import UUID as UuidColumn
from sqlalchemy.types import TypeDecorator

from services.domain.sources.feed_hints import NO_HINTS, FeedHints

E = TypeVar("E", bound=StrEnum)


class EnumText(TypeDecorator[E], Generic[E]):
    """A text column whose values are the members of one enum; a check constraint of the table lists them."""

    impl = Text
    cache_ok = True

    def __init__(self, kind: type[E]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: E | None, dialect: Dialect) -> str | None:
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> E | None:
        return None if value is None else self.kind(value)


class _JsonHints(TypedDict):
    minutes: int
    days: list[int]
    hours: list[int]


class FeedHintsJson(TypeDecorator[FeedHints]):
    """A JSON column whose values are `FeedHints`; an empty object stands for no hints."""

    impl = JSONB
    cache_ok = True

    def process_bind_param(self, value: FeedHints | None, dialect: Dialect) -> "_JsonHints | None":
        if value is None:
            return None
        return {"minutes": value.minutes, "days": list(value.days), "hours": list(value.hours)}

    def process_result_value(self, value: "_JsonHints | None", dialect: Dialect) -> FeedHints | None:
        if not value:
            return NO_HINTS
        return FeedHints(value["minutes"], tuple(value["days"]), tuple(value["hours"]))


def number() -> Column[int]:
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def at(name: str, *, nullable: bool = True) -> Column[object]:
    return Column(name, TIMESTAMP(timezone=True), nullable=nullable)


def created() -> Column[object]:
    return Column("created_at", TIMESTAMP(timezone=True), nullable=False, server_default=func.now())


def ref(name: str, target: str, *, nullable: bool = False, index: bool = False) -> Column[int]:
    return Column(name, BigInteger, ForeignKey(target, ondelete="CASCADE"), nullable=nullable, index=index)


def text_column(name: str, default: str | None = "") -> Column[str]:
    return Column(name, Text, nullable=False, server_default=default)


def enum_column(name: str, kind: type[E], default: E) -> Column[E]:
    return Column(name, EnumText(kind), nullable=False, server_default=default.value)


def count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="0")


def flag(name: str, default: bool = False) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=text(str(default).lower()))


def random_key(name: str) -> Column[UUID]:
    """122 random bits from the database, so that every row has its own, however it was added."""
    return Column(name, UuidColumn(as_uuid=True), nullable=False, server_default=func.gen_random_uuid())


def lease() -> tuple[Column[object], Column[object]]:
    """Which worker has claimed the row, and until when. The token fences every update."""
    return Column("lease_token", UuidColumn(as_uuid=True)), at("lease_until")
