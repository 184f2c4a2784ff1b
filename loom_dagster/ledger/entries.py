"""A line of the books, in whole picodollars; without a database, for those who only count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from loom_dagster.records import Account, Usage

__all__ = ["UNIT", "Entry", "count", "counted"]

UNIT = 1e-12  # USD


@dataclass(slots=True)
class Entry:
    """A line of the books. Amounts in picodollars; of ``calls`` that were answered ``unpriced`` had no known price;
    ``lost`` are calls whose outcome nobody knows, ``unconfirmed`` the most they can have cost."""

    spent: int = 0
    unconfirmed: int = 0
    calls: int = 0
    unpriced: int = 0
    lost: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    def pay(self, cost: float | None, usage: Usage) -> None:
        """An answer for ``cost`` USD; None: nobody knows its price."""
        self.calls += 1
        self.unpriced += cost is None
        self.spent += round((cost or 0.0) / UNIT)
        self.input_tokens += usage.input_tokens
        self.cached_tokens += usage.cached_tokens
        self.output_tokens += usage.output_tokens

    def lose(self, amount: int) -> None:
        """A call that cost ``amount`` at most."""
        self.lost += 1
        self.unconfirmed += amount


_NUMBERS = tuple(field.name for field in fields(Entry))


def counted(entries: Mapping[Account, Entry]) -> tuple[tuple[str | int, ...], ...]:
    """The entries as plain tuples: an account's fields, then the entry's."""
    return tuple(
        (*account, *(getattr(entry, name) for name in _NUMBERS)) for account, entry in entries.items()
    )


def count(into: dict[Account, Entry], told: tuple[tuple[str | int, ...], ...]) -> None:
    """Add what ``counted`` gave."""
    for purpose, model, prompt, *numbers in told:
        entry = into.setdefault(Account(str(purpose), str(model), str(prompt)), Entry())
        for name, number in zip(_NUMBERS, numbers, strict=True):
            setattr(entry, name, getattr(entry, name) + number)
