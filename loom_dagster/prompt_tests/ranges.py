"""Interval arithmetic, and logic with a third truth value: what follows from statistics that are known to lie in their
intervals, all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loom_dagster.prompt_tests.verdicts import Verdict

__all__ = ["Range", "compare", "negation", "together"]


@dataclass(frozen=True, slots=True)
class Range:
    """``value`` in the sample; what it is of all records lies from ``low`` to ``high``."""

    value: float
    low: float
    high: float

    def negative(self) -> Range:
        return Range(-self.value, -self.high, -self.low)

    def absolute(self) -> Range:
        ends = (abs(self.low), abs(self.high))
        return Range(abs(self.value), 0.0 if self.low <= 0 <= self.high else min(ends), max(ends))

    def combined(self, operator: str, other: Range) -> Range | None:
        """None where it may divide by zero."""
        match operator:
            case "+":
                return Range(self.value + other.value, self.low + other.low, self.high + other.high)
            case "-":
                return self.combined("+", other.negative())
            case "*":
                ends = [_product(a, b) for a in (self.low, self.high) for b in (other.low, other.high)]
                return Range(self.value * other.value, min(ends), max(ends))
        if other.value == 0 or other.low <= 0 <= other.high:
            return None
        return self.combined("*", Range(1 / other.value, 1 / other.high, 1 / other.low))


def _product(a: float, b: float) -> float:
    return 0.0 if 0.0 in (a, b) else a * b  # also where the other one is infinite


def compare(operator: str, left: Range, right: Range) -> Verdict:
    """Passed if it holds wherever in their ranges both lie, failed if nowhere."""
    match operator:
        case ">":
            sure, out = left.low > right.high, left.high <= right.low
        case ">=":
            sure, out = left.low >= right.high, left.high < right.low
        case "<":
            sure, out = left.high < right.low, left.low >= right.high
        case _:
            sure, out = left.high <= right.low, left.low > right.high
    return Verdict.PASSED if sure else Verdict.FAILED if out else Verdict.UNDECIDED


def negation(verdict: Verdict) -> Verdict:
    turned = {Verdict.PASSED: Verdict.FAILED, Verdict.FAILED: Verdict.PASSED}
    return turned.get(verdict, verdict)


def together(operator: str, verdicts: Sequence[Verdict]) -> Verdict:
    """``and``, ``or`` by Kleene's logic: what is undecided does not matter where the rest decides."""
    decides = Verdict.FAILED if operator == "and" else Verdict.PASSED
    if decides in verdicts:
        return decides
    return Verdict.UNDECIDED if Verdict.UNDECIDED in verdicts else negation(decides)
