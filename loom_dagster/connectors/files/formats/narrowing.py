"""What a column of texts may become without losing anything."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Narrowing"]

_INT = r"^(0|-?[1-9][0-9]*)$"
_FLOAT = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-][0-9]+)?$"
_BOOL = r"^(true|false)$"
_SURE = 15  # digits that a float64 always gives back


class Narrowing:
    """One column's possible types, narrowed by every value that is seen.

    Integers must be written as we would write them (``0123`` and ``+1`` stay text) and fit int64;
    decimals must have the same value as a float64; truth values are ``true`` and ``false``. An
    ``exact`` column never becomes a float, so that 1 and 1.0 stay two keys.
    """

    def __init__(self, *, exact: bool = False) -> None:
        self._can: dict[pa.DataType, str] = {pa.int64(): _INT, pa.bool_(): _BOOL}
        if not exact:
            self._can[pa.float64()] = _FLOAT
        self._seen = False

    @property
    def type(self) -> pa.DataType:
        """int64, float64, bool, string; null if there was no value."""
        if not self._seen:
            return pa.null()
        return next(
            (kind for kind in (pa.int64(), pa.float64(), pa.bool_()) if kind in self._can), pa.string()
        )

    def see(self, column: pa.Array) -> None:
        """Takes a column of strings; nulls say nothing."""
        if self._seen and not self._can:
            return
        values = column.drop_null()
        if not len(values):
            return
        self._seen = True
        for kind, pattern in list(self._can.items()):
            if (
                not _matches(values[:100], pattern)
                or not _matches(values, pattern)
                or not _survives(values, kind)
            ):
                del self._can[kind]


def _matches(values: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(values, pattern)).as_py())


def _survives(values: pa.Array, kind: pa.DataType) -> bool:
    if pa.types.is_integer(kind):
        try:
            pc.cast(values, kind)
        except pa.ArrowInvalid:  # beyond 64 bits
            return False
        return True
    if pa.types.is_floating(kind):
        long = values.filter(pc.greater(pc.utf8_length(values), _SURE))
        numbers = pc.cast(long, kind)
        odd = pc.not_equal(pc.cast(numbers, pa.string()), long)
        pairs = zip(long.filter(odd).to_pylist(), numbers.filter(odd).to_pylist(), strict=True)
        return all(Decimal(text) == Decimal(repr(number)) for text, number in pairs)
    return True
