"""Times as people write them on a command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from loom_dagster.errors import Misconfigured

__all__ = ["duration", "since"]

_LONGEST = timedelta(days=36_525)


def duration(text: str) -> timedelta:
    """``30m``, ``2h``, ``7d``. Raises Misconfigured."""
    from pydantic import TypeAdapter, ValidationError

    from loom_dagster.spec.blocks import Duration

    try:
        found: timedelta = TypeAdapter(Duration).validate_python(text)
    except (ValidationError, OverflowError) as error:
        raise Misconfigured(f"`{text}` is not a duration", fix="a number and a unit: 30m, 2h, 7d") from error
    if found > _LONGEST:
        raise Misconfigured(f"`{text}` is more than a hundred years", fix="a number and a unit: 30m, 2h, 7d")
    return found


def since(text: str, now: datetime) -> datetime:
    """A day or a time (without a zone: local time), or how long ago: ``7d``. Raises Misconfigured."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    try:
        return now - duration(text.strip())
    except (Misconfigured, OverflowError) as error:
        fix = "write 2026-11-21, 2026-11-21T14:00, or how long ago: 12h, 7d"
        raise Misconfigured(f"`{text}` is not a time", fix=fix) from error
