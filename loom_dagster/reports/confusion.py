"""What was answered against what was expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Confusion", "Matrix"]

_LABELS = 50  # a field with more values than this is no label
_SHOWN = 12
_LONGEST = 40
_OTHER = "(other)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """``counts[i][j]``: records that were expected to be ``labels[i]`` and were answered ``labels[j]``. Without labels
    the field has too many values to be shown. ``recalls`` and ``precisions`` by label, None where there is nothing to divide by."""

    field: str
    reference: str
    compared: int
    agreed: int
    labels: Sequence[str] = ()
    counts: Sequence[Sequence[int]] = ()
    recalls: Sequence[float | None] = ()
    precisions: Sequence[float | None] = ()


class Confusion:
    """Counts pairs of one output field and its reference, in bounded memory."""

    def __init__(self, field: str, reference: str) -> None:
        self.field, self.reference = field, reference
        self._pairs: Counter[tuple[str, str]] | None = Counter()
        self._labels: set[str] = set()
        self._compared = self._agreed = 0

    def add(self, expected: object, answered: object) -> None:
        """A record without a reference is not compared."""
        if expected is None:
            return
        pair = _label(expected), _label(answered)
        self._compared += 1
        self._agreed += pair[0] == pair[1]
        if self._pairs is None:
            return
        self._labels.update(pair)
        if len(self._labels) > _LABELS:
            self._pairs = None
            return
        self._pairs[pair] += 1

    def matrix(self) -> Matrix | None:
        """None when nothing could be compared."""
        if not self._compared:
            return None
        whole = Matrix(
            field=self.field, reference=self.reference, compared=self._compared, agreed=self._agreed
        )
        return whole if self._pairs is None else self._with_counts(whole, self._pairs)

    def _with_counts(self, whole: Matrix, pairs: Counter[tuple[str, str]]) -> Matrix:
        seen: Counter[str] = Counter()
        for (expected, answered), number in pairs.items():
            seen[expected] += number
            seen[answered] += number
        ranked = sorted(seen, key=lambda label: (-seen[label], label))
        labels = ranked if len(ranked) <= _SHOWN else ranked[: _SHOWN - 1]
        shown = sorted(labels) + ([_OTHER] if len(labels) < len(ranked) else [])
        at = {label: shown.index(label) if label in labels else len(shown) - 1 for label in ranked}
        counts = [[0] * len(shown) for _ in shown]
        right: Counter[int] = Counter()  # two different values in (other) are not right
        for (expected, answered), number in pairs.items():
            counts[at[expected]][at[answered]] += number
            right[at[expected]] += number if expected == answered else 0
        places = range(len(shown))
        return Matrix(
            field=whole.field,
            reference=whole.reference,
            compared=whole.compared,
            agreed=whole.agreed,
            labels=shown,
            counts=counts,
            recalls=[_ratio(right[i], sum(counts[i])) for i in places],
            precisions=[_ratio(right[j], sum(row[j] for row in counts)) for j in places],
        )


def _label(value: object) -> str:
    text = "(none)" if value is None else str(value).strip()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
