"""JSON on stdout: for scripts, so it is whole, valid and alone there."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any

from loom_dagster.cli.terminal import Terminal, clean

__all__ = ["as_plain", "emit"]


def emit(document: object) -> None:
    """Print ``document``. What JSON cannot hold is written as text, NaN as null."""
    text = json.dumps(as_plain(document), indent=2, ensure_ascii=not _unicode_goes())
    # json leaves C1 controls, surrogates and direction marks as they are; inside JSON they can only
    # stand in strings, where an escape means the same
    lines = (_escaped(line) for line in text.split("\n"))
    Terminal(sys.stdout).write("\n".join(lines) + "\n")


def as_plain(value: object) -> Any:
    """``value`` made of what JSON has: dict, list, str, numbers, bool, None."""
    if isinstance(value, Enum):
        return as_plain(value.value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): as_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_plain(v) for v in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)


def _unicode_goes() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def _escaped(line: str) -> str:
    if line.isascii():
        return line
    return "".join(c if c.isascii() or clean(c) == c else f"\\u{ord(c):04x}" for c in line)
