"""Assertions about many records: what a growing sample says of them, look by look.

All intervals of a test hold together: the error is shared evenly among its statistics (Bonferroni), so a verdict on
any combination of them with and, or, not is as safe as each alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from loom_dagster.prompt_tests.estimates import OF_THE_SAMPLE, OWN, Estimate
from loom_dagster.prompt_tests.looks import Look
from loom_dagster.prompt_tests.needed import needed_for, needed_for_fraction
from loom_dagster.prompt_tests.nodes import (
    Call,
    Combined,
    Compared,
    Constant,
    Listed,
    Name,
    Negated,
    Node,
    written,
)
from loom_dagster.prompt_tests.ranges import Range, compare, negation, together
from loom_dagster.prompt_tests.tokens import refused
from loom_dagster.prompt_tests.verdicts import Finding, Interval, Verdict

__all__ = ["Claim", "Claims", "Estimator", "Statistic"]

Statistic = Call | Name
Estimator = Callable[[Statistic, Look, float], Estimate | None]


@dataclass(frozen=True, slots=True)
class Claim:
    """An assertion, as it is shown and in its parts. Raises Misconfigured for one that no sample can decide."""

    text: str
    node: Node

    def __post_init__(self) -> None:
        for part in _comparisons(self.node, self.text):
            if part.operator not in ("<", "<=", ">", ">="):
                what = f"no sample shows that an estimate is `{part.operator}` something"
                raise refused(self.text, part.at, what, "give it a bound: `>=`, `<=`")


@dataclass(slots=True)
class Claims:
    """The assertions of one test. ``alpha`` is what may go wrong in all of them together."""

    claims: Sequence[Claim]
    alpha: float
    _known: dict[object, tuple[Estimate, Interval]] = field(default_factory=dict)

    @property
    def statistics(self) -> Mapping[object, Statistic]:
        """Everything that is estimated, each once."""
        return {_key(s): s for claim in self.claims for s in _statistics(claim.node)}

    @property
    def each(self) -> float:
        """The error of each statistic of which an interval is claimed."""
        sampled = [s for s in self.statistics.values() if isinstance(s, Call) and s.function in OWN]
        return self.alpha / max(len(self.statistics) - len(sampled), 1)

    def look(self, estimator: Estimator, look: Look) -> list[Finding]:
        """What is known of each assertion now: what this look says, and all those before it."""
        for key, statistic in self.statistics.items():
            found = estimator(statistic, look, self.each)
            if found is not None:
                before = self._known.get(key)
                now = Interval(low=found.low, high=found.high, level=1 - self.alpha, method=found.method)
                self._known[key] = (found, now.within(before[1] if before else None))
        return [self._finding(claim.text, claim.node, look) for claim in self.claims]

    def _finding(self, text: str, node: Node, look: Look) -> Finding:
        match node:
            case Compared():
                return self._compared(text, node, look)
            case Negated():
                inner = self._finding(written(node.operand), node.operand, look)
                parts: tuple[Finding, ...] = (inner,)
                verdict = negation(inner.verdict)
            case Combined():
                parts = tuple(self._finding(written(part), part, look) for part in (node.left, node.right))
                verdict = together(node.operator, [p.verdict for p in parts])
            case _:
                raise refused(text, node.at, "nothing is compared here")
        open_ = [p for p in parts if p.verdict is Verdict.UNDECIDED]
        needed = [p.needed for p in open_ if p.needed is not None]
        return Finding(
            text=text,
            verdict=verdict,
            needed=max(needed) if verdict is Verdict.UNDECIDED and len(needed) == len(open_) else None,
            reason=next((p.reason for p in open_ if p.reason), ""),
            parts=parts,
            seen=look.n,
        )

    def _compared(self, text: str, node: Compared, look: Look) -> Finding:
        left, right = self._range(node.left), self._range(node.right)
        if left is None or right is None:
            why = "too few records to say anything"
            return Finding(text=text, verdict=Verdict.UNDECIDED, reason=why, seen=look.n)
        verdict = compare(node.operator, left, right)
        known = [self._known[_key(s)] for s in _statistics(node)]
        methods = list(dict.fromkeys(found.method for found, _ in known))
        reason, needed, interval = "", None, None
        if methods == [OF_THE_SAMPLE]:
            reason = OF_THE_SAMPLE
        else:
            method = ", ".join(methods)
            interval = Interval(low=left.low, high=left.high, level=1 - self.alpha, method=method)
        if verdict is Verdict.UNDECIDED:
            needed = self._needed(node, left, right, look)
            at_the_bound = left.value == right.value
            reason = "it lies at the bound: no number of records would tell" if at_the_bound else reason
        return Finding(
            text=text,
            verdict=verdict,
            value=left.value,
            interval=interval,
            needed=needed,
            reason=reason,
            seen=look.n,
        )

    def _range(self, node: Node) -> Range | None:
        match node:
            case Constant(value=float() as number):
                return Range(number, number, number)
            case Negated(operator="-"):
                inner = self._range(node.operand)
                return None if inner is None else inner.negative()
            case Call(function="abs"):
                inner = self._range(node.arguments[0])
                return None if inner is None else inner.absolute()
            case Call() | Name() if _key(node) in self._known:
                found, interval = self._known[_key(node)]
                return Range(found.value, interval.low, interval.high)
            case Combined():
                left, right = self._range(node.left), self._range(node.right)
                return None if left is None or right is None else left.combined(node.operator, right)
        return None

    def _needed(self, node: Compared, left: Range, right: Range, look: Look) -> int | None:
        if isinstance(node.left, Call | Name) and isinstance(node.right, Constant):
            found, _ = self._known[_key(node.left)]
            if found.successes is not None:
                return needed_for_fraction(found.value, right.value, look.final(self.each))
        return needed_for(left, right, look.n)


def _comparisons(node: Node, text: str) -> list[Compared]:
    match node:
        case Compared():
            return [node]
        case Negated(operator="not"):
            return _comparisons(node.operand, text)
        case Combined(operator="and" | "or"):
            return [*_comparisons(node.left, text), *_comparisons(node.right, text)]
    raise refused(
        text, node.at, "nothing is compared here", "write for example `mean(evaluation_scores) > 0.8`"
    )


def _statistics(node: Node) -> list[Statistic]:
    match node:
        case Call(function="abs"):
            return _statistics(node.arguments[0])
        case Call() | Name():
            return [node]
        case Negated():
            return _statistics(node.operand)
        case Combined() | Compared():
            return [*_statistics(node.left), *_statistics(node.right)]
    return []


def _key(node: Node) -> object:
    """The same for the same thing, wherever in its text it stands."""
    match node:
        case Constant():
            return (type(node.value), node.value)
        case Name():
            return node.path
        case Call():
            return (node.function, *map(_key, node.arguments))
        case Negated():
            return (node.operator, _key(node.operand))
        case Combined() | Compared():
            return (node.operator, _key(node.left), _key(node.right))
        case Listed():
            return tuple(map(_key, node.items))
