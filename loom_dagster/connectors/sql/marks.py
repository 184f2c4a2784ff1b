"""Marks: 16 bytes that stand for one record of a partition and one way to compute it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

__all__ = ["mark_type", "marks_of"]


def marks_of(ids: Sequence[str], partition: str, fingerprint: str) -> list[bytes]:
    """One mark a record id."""
    start = hashlib.blake2b(digest_size=16)
    for part in (partition.encode(), fingerprint.encode()):
        start.update(len(part).to_bytes(4) + part)
    marks = []
    for record_id in ids:
        mark = start.copy()
        mark.update(record_id.encode())
        marks.append(mark.digest())
    return marks


def mark_type(dialect: str) -> TypeEngine[Any]:
    """The type of a column of marks."""
    if dialect == "postgresql":
        return sa.Uuid()  # 16 bytes, and no more
    return mysql.BINARY(16) if dialect == "mysql" else sa.LargeBinary()
