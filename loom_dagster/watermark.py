"""How far a pipeline has come with its source."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

__all__ = ["Cursor", "Watermark", "typed"]

Cursor = str | int | float | Decimal | datetime | date | None

_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_WHOLE = re.compile(r"-?(0|[1-9]\d*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """The highest ``cursor`` that was loaded, or the state (size, stamp) of each file that was."""

    cursor: Cursor = None
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def joined(self, later: Watermark) -> Watermark:
        """The further of both cursors, and the files of both. A cursor of another type takes the place of ours."""
        return Watermark(cursor=_further(self.cursor, later.cursor), files={**self.files, **later.files})

    def start(self, lag: timedelta) -> Cursor:
        """From which cursor on rows are read again. Days are the least of a date; numbers go back by the
        seconds of ``lag``; a text that is an ISO time stays text. Raises TypeError for another text."""
        if self.cursor is None or not lag:
            return self.cursor
        if isinstance(self.cursor, datetime):
            return self.cursor - lag
        if isinstance(self.cursor, date):
            return self.cursor - timedelta(days=math.ceil(lag / timedelta(days=1)))
        if isinstance(self.cursor, str):
            return _earlier(self.cursor, lag)
        seconds = lag.total_seconds()
        if isinstance(self.cursor, float):
            return self.cursor - seconds
        return self.cursor - math.ceil(seconds)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        kind = type(self.cursor).__name__
        text = self.cursor.isoformat() if isinstance(self.cursor, date) else str(self.cursor)
        return {
            "cursor": None if self.cursor is None else {"type": kind, "value": text},
            "files": {name: list(state) for name, state in self.files.items()},
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Watermark:
        """What ``as_dict`` gave. Raises ValueError, KeyError or TypeError for anything else."""
        cursor, files = document.get("cursor"), document.get("files") or {}
        return cls(
            cursor=None if cursor is None else _READERS[cursor["type"]](cursor["value"]),
            files={name: tuple(state) for name, state in files.items()},
        )


def _earlier(text: str, lag: timedelta) -> str:
    moment = typed(text)
    if not isinstance(moment, datetime):
        raise TypeError(f"a lag needs a cursor of times or numbers, and {text[:40]!r} is neither")
    earlier = moment - lag
    if not re.search(r"(Z|[+-]\d{2}:?\d{2})$", text):
        earlier = earlier.replace(tzinfo=None)
    written = earlier.isoformat(sep=text[10])
    return written.replace("+00:00", "Z") if text.endswith("Z") else written


def _further(ours: Cursor, theirs: Cursor) -> Cursor:
    if ours is None or theirs is None:
        return theirs if ours is None else ours
    if (
        isinstance(ours, datetime)
        and isinstance(theirs, datetime)
        and (ours.tzinfo is None) != (theirs.tzinfo is None)
    ):
        ours = ours.replace(tzinfo=theirs.tzinfo)  # set by hand for a column without zones: the same digits
    try:
        return max(ours, theirs)
    except TypeError:
        return theirs


def typed(text: str) -> Cursor:
    """What a person means who writes ``text`` for a value: a time (UTC where it names no zone), a day, a
    whole number, else the text itself."""
    if _MOMENT.fullmatch(text):
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if _DAY.fullmatch(text):
        return date.fromisoformat(text)
    return int(text) if _WHOLE.fullmatch(text) else text


_READERS: dict[str, Any] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "int": int,
    "float": float,
    "Decimal": Decimal,
    "str": str,
}
