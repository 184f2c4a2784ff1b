"""Pieces of a source that are run one by one: windows of time, or keys from a list.

Keys are named as Dagster names them, so that what runs here and what is shown there is one thing.
"""

from __future__ import annotations

import calendar
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from loom_dagster.errors import Misconfigured

__all__ = ["Calendar", "Every", "Listed", "Partitioning", "Span"]

Every = Literal["hourly", "daily", "weekly", "monthly"]

_HOUR = timedelta(hours=1)
_DAYS = {"daily": 1, "weekly": 7}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The moments of one partition: ``start <= moment < end``, in UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """Windows of time, one after the other from ``start`` on; the last one ends by ``end``. Both are naive: what
    clocks in ``timezone`` show. Weeks begin on the weekday of ``start``."""

    every: Every
    start: datetime
    timezone: str = "UTC"
    end: datetime | None = None

    def keys(self, now: datetime) -> list[str]:
        """Of all windows that are over at ``now``, oldest first."""
        return [self._name(number) for number in range(self._over(now))]

    def newest(self, now: datetime) -> str | None:
        """The last one that is over; None before the first is."""
        number = self._over(now)
        return self._name(number - 1) if number else None

    def count(self, now: datetime) -> int:
        return self._over(now)

    @property
    def first(self) -> str:
        return self._name(0)

    def key_at(self, moment: datetime) -> str | None:
        """The partition that an aware ``moment`` falls in, over or not; None outside of all."""
        if moment < self._begin(0) or (self.end is not None and moment >= self._utc(self.end)):
            return None
        return self._name(self._number(moment))

    def span(self, key: str) -> Span:
        """The moments of ``key``. Raises Misconfigured when no window is called so."""
        number = self._found(key)
        if number is None:
            raise Misconfigured(f"there is no {self.every} partition `{key}`", fix=self._nearest(key))
        return Span(start=self._begin(number), end=self._begin(number + 1))

    def check(self, key: str, now: datetime, *, of: str) -> None:
        """Raises Misconfigured unless ``key`` is a partition of the pipeline ``of`` that is over."""
        newest = self.newest(now)
        if newest is None:
            raise Misconfigured(
                f"`{of}` has no complete partition yet",
                why=f"the first one, {self.first}, ends at {self.span(self.first).end:%Y-%m-%d %H:%M} UTC",
                fix="see `extract.partitions.start`",
            )
        number = self._found(key)
        if number is None:
            raise Misconfigured(
                f"`{of}` has no partition `{key}`",
                why=f"they are {self.every}, from {self.first} to {newest}",
                fix=self._nearest(key) or f"the newest one that is complete: {newest}",
            )
        if number >= self._over(now):
            over = self.end is None or self._begin(number + 1) <= self._utc(self.end)
            ends = f"it ends at {self._begin(number + 1):%Y-%m-%d %H:%M} UTC"
            raise Misconfigured(
                f"partition `{key}` of `{of}` is not complete"
                if over
                else f"`{of}` has no partition `{key}`",
                why=ends if over else "it is behind `extract.partitions.end`",
                fix=f"the newest one that is complete: {newest}",
            )

    def within(self, upstream: Partitioning) -> str | None:
        """Why not every partition of this is one of ``upstream``; None when it is."""
        if not isinstance(upstream, Calendar):
            return f"{self.words} here, {upstream.words} there"
        if (self.cron, self.timezone) != (upstream.cron, upstream.timezone):
            return f"{self.words} here, {upstream.words} there"
        return (
            f"they start at {self.first} here, at {upstream.first} there"
            if self.start < upstream.start
            else None
        )

    @property
    def words(self) -> str:
        """For people: ``daily in Europe/Berlin``."""
        day = f" from {calendar.day_name[self.start.weekday()]}" if self.every == "weekly" else ""
        return f"{self.every}{day} in {self.timezone}"

    @property
    def cron(self) -> str:
        """When one window ends and the next begins, as cron says it."""
        weekday = self.start.isoweekday() % 7
        return {
            "hourly": "0 * * * *",
            "daily": "0 0 * * *",
            "weekly": f"0 0 * * {weekday}",
            "monthly": "0 0 1 * *",
        }[self.every]

    @property
    def form(self) -> str:
        """How keys are written, as strftime says it."""
        return "%Y-%m-%d-%H:%M" if self.every == "hourly" else "%Y-%m-%d"

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def _begin(self, number: int) -> datetime:
        """When window ``number`` begins. Days follow the clocks of the zone, so some have 23 hours, or 25."""
        if self.every == "hourly":
            return self._utc(self.start) + number * _HOUR
        if self.every == "monthly":
            months = self.start.year * 12 + self.start.month - 1 + number
            return self._utc(self.start.replace(year=months // 12, month=months % 12 + 1))
        return self._utc(self.start + timedelta(days=number * _DAYS[self.every]))

    def _utc(self, shown: datetime) -> datetime:
        return shown.replace(tzinfo=self.zone).astimezone(UTC)

    def _number(self, moment: datetime) -> int:
        """Of the window that ``moment`` falls in; negative before the first."""
        shown = moment.astimezone(self.zone).replace(tzinfo=None)
        if self.every == "hourly":
            number = (moment - self._begin(0)) // _HOUR
        elif self.every == "monthly":
            number = (shown.year - self.start.year) * 12 + shown.month - self.start.month
        else:
            number = (shown - self.start).days // _DAYS[self.every]
        while self._begin(number) > moment:
            number -= 1
        while self._begin(number + 1) <= moment:
            number += 1
        return number

    def _over(self, now: datetime) -> int:
        until = now if self.end is None else min(now, self._utc(self.end))
        return max(self._number(until), 0)

    def _name(self, number: int) -> str:
        shown = self._begin(number).astimezone(self.zone)
        again = self.every == "hourly" and shown.fold  # the same digits were shown an hour before
        return shown.strftime(f"{self.form}%z" if again else self.form)

    def _found(self, key: str) -> int | None:
        number = self._guessed(key)
        return number if number is not None and number >= 0 and self._name(number) == key else None

    def _guessed(self, key: str) -> int | None:
        """The number of the window that ``key`` may mean."""
        for form in (self.form, f"{self.form}%z", "%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m"):
            try:
                moment = datetime.strptime(key, form)  # noqa: DTZ007 - the zone follows
                aware = moment if moment.tzinfo else self._utc(moment)
                return self._number(aware.astimezone(UTC))
            except (ValueError, OverflowError):
                continue
        return None

    def _nearest(self, key: str) -> str | None:
        number = self._guessed(key)
        return f"did you mean `{self._name(number)}`?" if number is not None and number >= 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Keys that someone has listed."""

    values: tuple[str, ...]

    def keys(self, now: datetime) -> list[str]:
        return list(self.values)

    def newest(self, now: datetime) -> str | None:
        """The last one of the list."""
        return self.values[-1]

    def count(self, now: datetime) -> int:
        return len(self.values)

    @property
    def first(self) -> str:
        return self.values[0]

    def span(self, key: str) -> None:
        """They have no times."""

    def check(self, key: str, now: datetime, *, of: str) -> None:
        """Raises Misconfigured unless ``key`` is in the list of the pipeline ``of``."""
        if key in self.values:
            return
        near = difflib.get_close_matches(key, self.values, n=1)
        raise Misconfigured(
            f"`{of}` has no partition `{key}`",
            why=f"there are {_some(self.values)}",
            fix=f"did you mean `{near[0]}`?" if near else None,
        )

    def within(self, upstream: Partitioning) -> str | None:
        """Why not every partition of this is one of ``upstream``; None when it is."""
        if not isinstance(upstream, Listed):
            return f"{self.words} here, {upstream.words} there"
        missing = [value for value in self.values if value not in upstream.values]
        return f"there is no {_some(missing)} there" if missing else None

    @property
    def words(self) -> str:
        """For people."""
        return f"{len(self.values)} listed ones"


Partitioning = Calendar | Listed


def _some(values: Sequence[str]) -> str:
    more = f" and {len(values) - 10} more" if len(values) > 10 else ""
    return ", ".join(values[:10]) + more
