"""What is different between two runs, of what is written down: texts line by line, settings one by one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["changes_between", "text_diff"]

_ABSENT = object()


def text_diff(before: str | None, after: str | None, name: str) -> list[str]:
    """A unified diff, line by line without line ends; empty when nothing changed."""
    if before == after:
        return []
    lines = difflib.unified_diff(
        (before or "").splitlines(), (after or "").splitlines(), f"a/{name}", f"b/{name}", lineterm=""
    )
    return list(lines)


def changes_between(before: object, after: object) -> list[dict[str, Any]]:
    """Each value that is not the same, by its path (``evaluators.quality.threshold``): ``before`` and ``after``, None
    where there is none."""
    return [
        {
            "what": path,
            "before": None if old is _ABSENT else old,
            "after": None if new is _ABSENT else new,
        }
        for path, old, new in _changes(before, after, ())
    ]


def _changes(old: object, new: object, path: tuple[str, ...]) -> Iterator[tuple[str, object, object]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys([*old, *new]):
            yield from _changes(old.get(name, _ABSENT), new.get(name, _ABSENT), (*path, str(name)))
    elif old != new:
        yield ".".join(path), old, new
