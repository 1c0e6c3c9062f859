"""The kinds of columns that the tables have again and again."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Identity, Integer, Text, func, text
from sqlalchemy.dialects.postgresql import TIMESTAMP, UUID


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


def count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="0")


def flag(name: str, default: bool = False) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=text(str(default).lower()))


def lease() -> tuple[Column[object], Column[object]]:
    """Who works on the row and until when; every update is fenced by the token."""
    return Column("lease_token", UUID(as_uuid=True)), at("lease_until")
