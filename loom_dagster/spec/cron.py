"""Cron schedules, read so that what is wrong can be said: which field, and what it may be. And when they come next."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

__all__ = ["cron_problem", "next_time"]

_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FARTHEST = 8 * 366  # days: from one 29 February to the next, over 1900 or 2100
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: at + 1 for at, name in enumerate(_MONTHS)}),
    ("day of the week", 0, 7, {name: at for at, name in enumerate(_DAYS)}),
)
_PART = re.compile(r"(\*|[0-9a-z]+)(?:-([0-9a-z]+))?(?:/(\d+))?", re.IGNORECASE)


def cron_problem(text: str) -> str | None:
    """What is wrong with a schedule of five fields (``0 6 * * mon-fri``, ``@daily``); None: nothing."""
    if text.strip().lower() in _NAMED:
        return None
    words = text.split()
    if text.strip().startswith("@") or len(words) != len(_FIELDS):
        known = ", ".join(sorted(_NAMED))
        return f"`{text}` is not five fields (minute, hour, day, month, day of the week) or one of {known}"
    values = _values(words)
    if isinstance(values, str):
        return values
    _, _, days, months, _ = values
    if words[4] == "*" and min(days) > max(_LONGEST[month - 1] for month in months):
        return f"`{text}` never comes: no such month has a day {min(days)}"
    return None


def next_time(text: str, zone: str | None, after: datetime) -> datetime | None:
    """When a schedule without problems comes next, in UTC; ``zone``: of the clocks it means, by default UTC. Of a day and
    a weekday that are both restricted one is enough, as everywhere."""
    words = _NAMED.get(text.strip().lower(), text).split()
    values = _values(words)
    if isinstance(values, str):
        return None
    minutes, hours, days, months, weekdays = values
    either = words[2] != "*" and words[4] != "*"
    clock = ZoneInfo(zone or "UTC")
    today = after.astimezone(clock).date()
    for day in (today + timedelta(days=n) for n in range(_FARTHEST)):
        by_date, by_weekday = day.day in days, day.isoweekday() % 7 in {n % 7 for n in weekdays}
        if day.month not in months or not (by_date or by_weekday if either else by_date and by_weekday):
            continue
        for hour in sorted(hours):
            for minute in sorted(minutes):
                moment = datetime.combine(day, time(hour, minute), clock).astimezone(UTC)
                if moment > after:
                    return moment
    return None


def _values(words: list[str]) -> list[set[int]] | str:
    """The numbers of each field, or what is wrong with one."""
    values: list[set[int]] = []
    for word, (name, low, high, names) in zip(words, _FIELDS, strict=True):
        found: set[int] = set()
        for part in word.split(","):
            numbers = _numbers(part, low, high, names)
            if numbers is None:
                return f"its {name} is `{word}`; it may be {_allowed(low, high, names)}"
            found |= numbers
        values.append(found)
    return values


def _numbers(part: str, low: int, high: int, names: dict[str, int]) -> set[int] | None:
    match = _PART.fullmatch(part)
    if match is None or (match[1] == "*" and match[2]):
        return None
    if match[1] == "*":
        first, last = low, high
    else:
        ends = [_number(word, names) for word in (match[1], match[2] or match[1])]
        if ends[0] is None or ends[1] is None:
            return None
        first, last = ends[0], ends[1]
        if match[3] and not match[2]:  # 5/10: from 5 on
            last = high
    step = int(match[3]) if match[3] else 1
    if not low <= first <= last <= high or not 1 <= step <= high:
        return None
    return set(range(first, last + 1, step))


def _number(word: str, names: dict[str, int]) -> int | None:
    return int(word) if word.isdigit() else names.get(word.lower())


def _allowed(low: int, high: int, names: dict[str, int]) -> str:
    words = f", {next(iter(names))} to {list(names)[-1]}" if names else ""
    return f"*, {low} to {high}{words}, a list (1,2), a range (1-5), a step (*/5)"
