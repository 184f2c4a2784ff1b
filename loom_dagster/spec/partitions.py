"""The ``extract.partitions`` block: a source that is run piece by piece."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import model_validator

from loom_dagster.partitions import Calendar, Every, Listed, Partitioning
from loom_dagster.spec.blocks import Block, Text

__all__ = ["Partitions", "partitions_as_mapping"]

_KEY = re.compile(r"\w([\w .:+=@-]{0,98}\w)?")
_EVERY = ("hourly", "daily", "weekly", "monthly")


class Partitions(Block):
    """The source is run piece by piece, each piece with a verdict of its own: windows of time, or the keys of a list.
    ``start`` (and ``end``, which is outside) are dates or times in ``timezone``, an IANA name; weeks begin on the
    weekday of ``start``. ``column``: where rows say which partition they belong to."""

    every: Every | None = None
    start: Text | None = None
    end: Text | None = None
    timezone: Text = "UTC"
    values: tuple[Text, ...] = ()
    column: str | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Partitions:
        if (self.every is None) == (not self.values):
            raise ValueError(
                "partitions are `every: daily` with a `start`, or a list of `values`: one of the two"
            )
        if self.every is None:
            self._check_values()
        elif self.start is None:
            raise ValueError(_since(self.every))
        self.partitioning()
        return self

    def partitioning(self) -> Partitioning:
        """The partitions it stands for. Raises ValueError."""
        if self.every is None or self.start is None:
            return Listed(values=tuple(str(value) for value in self.values))
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(
                f"`timezone: {self.timezone}` is not known; write an IANA name like Europe/Berlin"
            ) from error
        start = _moment("start", self.start, self.every)
        end = None if self.end is None else _moment("end", self.end, self.every)
        if end is not None and end <= start:
            raise ValueError(f"`end: {self.end}` is not after `start: {self.start}`")
        return Calendar(every=self.every, start=start, end=end, timezone=str(self.timezone))

    def _check_values(self) -> None:
        if self.start is not None or self.end is not None:
            raise ValueError("`start` and `end` belong to `every`; a list of `values` has neither")
        for value in self.values:
            if not _KEY.fullmatch(value) or ".." in value:
                raise ValueError(
                    f"`{value}` cannot be the name of a partition; letters, digits and ` _.:+=@-` can, not at its ends"
                )
        twice = [value for value, number in Counter(v.casefold() for v in self.values).items() if number > 1]
        if twice:
            raise ValueError(
                f"`{twice[0]}` is listed twice (upper and lower case do not tell partitions apart)"
            )


def partitions_as_mapping(value: Any) -> Any:
    """A list is one of ``values``; a bare word lacks its start."""
    if isinstance(value, list | tuple):
        return {"values": list(value)}
    if isinstance(value, str):
        raise ValueError(_since(value if value in _EVERY else "daily"))  # noqa: TRY004 - pydantic's way
    return value


def _since(every: str) -> str:
    return f"partitions need a start: write `partitions: {{every: {every}, start: 2026-01-01}}`"


def _moment(name: str, text: str, every: Every) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"`{name}: {text}` is not a date; write 2026-01-01") from error
    if moment.tzinfo is not None:
        raise ValueError(f"`{name}: {text}` names an offset; leave it out and name the `timezone`")
    if every == "hourly":
        if moment != moment.replace(minute=0, second=0, microsecond=0):
            raise ValueError(f"`{name}: {text}` of hourly partitions is not at the full hour")
        return moment
    if moment != moment.replace(hour=0, minute=0, second=0, microsecond=0):
        raise ValueError(f"`{name}: {text}` of {every} partitions is a date, without a time")
    if every == "monthly" and moment.day != 1:
        raise ValueError(f"`{name}: {text}` of monthly partitions is not the first of a month")
    return moment
