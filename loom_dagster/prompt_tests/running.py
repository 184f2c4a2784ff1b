"""One case: asked as often as it says, held against what is expected."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from loom_dagster.errors import LoomError, Outage
from loom_dagster.prompt_tests.cases import Case
from loom_dagster.prompt_tests.expressions import Expression, Lookup, Unknown
from loom_dagster.prompt_tests.observed import Observed
from loom_dagster.prompt_tests.scopes import lookup_of

__all__ = ["AsksAbout", "CaseResult", "claim_failure", "failures_of", "run_case", "said_of"]

_SHOWN = 120


class AsksAbout(Protocol):
    """``Asks``, told what is asked about."""

    async def ask(self, columns: Mapping[str, Any], *, sample: int = 0, name: str = "") -> Observed:
        """As ``Asks``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """``failures`` of each answer, in the order in which they were asked for: none where it was right. ``not_asked``:
    why nothing can be said."""

    case: Case
    seen: tuple[Observed, ...] = ()
    failures: tuple[tuple[str, ...], ...] = ()
    not_asked: str | None = None

    @property
    def right(self) -> int:
        """How many answers were."""
        return sum(not found for found in self.failures)

    @property
    def passed(self) -> bool:
        return self.not_asked is None and self.right >= self.case.needed

    @property
    def answered(self) -> bool:
        return self.not_asked is None

    @property
    def flickers(self) -> bool:
        """Some answers are right, and some are not."""
        return 0 < self.right < len(self.failures)

    @property
    def score(self) -> float | None:
        """The mean of its answers' scores; None without evaluators."""
        known = [s.score for s in self.seen if s.score is not None]
        return sum(known) / len(known) if known else None

    @property
    def reasons(self) -> list[str]:
        """What failed, most often first, each once."""
        if self.not_asked is not None:
            return [self.not_asked]
        counts = Counter(reason for found in self.failures for reason in dict.fromkeys(found))
        if self.case.repeat == 1:
            return list(counts)
        return [f"{reason} in {n} of {self.case.repeat}" for reason, n in counts.most_common()]


async def run_case(case: Case, asks: AsksAbout) -> CaseResult:
    """What came of ``case``. Raises Misconfigured only."""
    asked = (asks.ask(case.columns, sample=n, name=case.name) for n in range(case.repeat))
    outcomes = await asyncio.gather(*asked, return_exceptions=True)  # what others pay for is not thrown away
    failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    for error in failed:
        if not isinstance(error, Outage):
            raise error
    if failed:
        return CaseResult(case=case, not_asked=_sentence(failed[0]))
    seen = tuple(outcome for outcome in outcomes if isinstance(outcome, Observed))
    return CaseResult(case=case, seen=seen, failures=tuple(failures_of(case, each) for each in seen))


def _sentence(error: BaseException) -> str:
    return error.sentence() if isinstance(error, LoomError) else str(error)


def failures_of(case: Case, seen: Observed) -> tuple[str, ...]:
    """Why an answer is not as ``case`` expects; none when it is."""
    if seen.output is None:
        raw = f" (answer: {_short(seen.raw)})" if seen.raw else ""
        return (f"{seen.error}{raw}",)
    output = seen.output
    expected = (one.failure(output) for one in case.expected)
    lookup = lookup_of(seen, case.columns)
    claimed = (claim_failure(one, lookup) for one in case.assertions)
    found = [reason for reason in (*expected, *claimed) if reason is not None]
    if found and None in seen.scores.values():  # a judge that failed is why, more often than not
        found.append(f"the gate says: {seen.reason}")
    return tuple(found)


def claim_failure(claim: Expression, lookup: Lookup) -> str | None:
    """Why an assertion does not hold, with the values of what it names; None when it does."""
    try:
        if claim.holds(lookup):
            return None
    except Unknown as unknown:
        return f"{claim.text} (cannot be said: {unknown})"
    return f"{claim.text} (actual: {said_of(claim.actual(lookup))})"


def said_of(values: Mapping[str, Any]) -> str:
    """One value alone, several with their names."""
    if len(values) == 1:
        return _value(*values.values())
    return ", ".join(f"{name} = {_value(value)}" for name, value in values.items())


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"'{_short(value)}'" if isinstance(value, str) else _short(str(value))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
