"""Plain YAML scalars keep their text until someone asks what YAML means by them."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["Plain", "resolve"]

_INT = re.compile(r"^[-+]?(0|[1-9][0-9]*)$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


class Plain(str):
    """An unquoted scalar, as written. Quoted ones are ordinary ``str``."""

    __slots__ = ()


def resolve(value: Any) -> Any:
    """``value`` with every Plain in it turned into what YAML 1.2 says: int, float, bool or text."""
    if isinstance(value, Plain):
        text = str(value)
        if text in _BOOL:
            return _BOOL[text]
        if _INT.match(text):
            return int(text)
        if _FLOAT.match(text) and not re.match(r"^[-+]?0[0-9]", text):
            return float(text)
        return text
    if isinstance(value, dict):
        return {str(k): resolve(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(v) for v in value]
    return value
