"""Numbers and times as people read them."""

from __future__ import annotations

from datetime import datetime

from loom_dagster.records import dollars, seconds, share

__all__ = ["byte_size", "counted", "dollars", "moment", "release_name", "seconds", "share", "without_login"]


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """``1 record``, ``10,000 records``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def byte_size(number: int) -> str:
    """``812 bytes``, ``4.2 MB``."""
    if number < 1000:
        return counted(number, "byte")
    size, units = number / 1000, ["kB", "MB", "GB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:,.1f} {units[0]}"


def moment(value: datetime | str | None) -> str:
    """``2026-11-14 10:00:05``, local time; ``-`` when there is none."""
    if value is None or value == "":
        return "-"
    try:
        when = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return str(value)
    return f"{when.astimezone():%Y-%m-%d %H:%M:%S}"


def release_name(version: str | None) -> str:
    """`` (v2.1.0)``, or nothing."""
    if not version:
        return ""
    return f" (v{version})" if version[0].isdigit() else f" ({version})"


def without_login(uri: str) -> str:
    """``uri`` without user and password."""
    scheme, found, rest = uri.partition("://")
    if not found:
        return uri
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
