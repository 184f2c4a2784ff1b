"""A comparison in words: what came of it, and record by record what got worse and better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from loom_dagster.prompt_tests.verdicts import Change, Compared, Comparison, PairTest, Side
from loom_dagster.records import to_json

__all__ = ["SHOWN", "changed_words", "compared_document", "compared_words"]

SHOWN = 10
"""Cases that are shown on either side; ``--json`` has them all."""
_LONGEST = 160


def compared_words(compared: Compared) -> Iterator[str]:
    """The figures behind the verdict, a line each."""
    changes = compared.changes
    n = len(changes)
    before, after = (sum(side.passed for side in sides) for sides in _sides(changes))
    for test in compared.tests:
        yield from _tested(test, before / n, after / n, changes)
    if compared.stopped:
        yield compared.stopped
    if compared.verdict is Comparison.SAME:
        yield from _unseen(compared.tests, n)
    if compared.missing:
        yield f"{compared.missing:,} left out: the baseline does not have them"
    yield from compared.warnings


def changed_words(changes: Sequence[Change]) -> Iterator[tuple[str, list[str]]]:
    """Each case with what it was and is; several pairs of one case together."""
    ordered = list(dict.fromkeys(c.case for c in changes))
    by_case = {case: list(found) for case, found in groupby(sorted(changes, key=_case), key=_case)}
    for case in ordered[:SHOWN]:
        first = by_case[case][0]
        times = f" ({len(by_case[case])} times)" if len(by_case[case]) > 1 else ""
        yield f"{case}{times}", [f"before: {_said(first.before)}", f"now:    {_said(first.after)}"]
    if len(ordered) > SHOWN:
        yield f"and {len(ordered) - SHOWN:,} more: `--json` has them all", []


def compared_document(compared: Compared) -> dict[str, Any]:
    """For ``--json``."""
    return {
        "of": compared.of,
        "baseline": compared.baseline,
        "verdict": compared.verdict.value,
        "passed": compared.passed,
        "pairs": len(compared.changes),
        "planned": compared.planned,
        "stopped": compared.stopped or None,
        "missing": compared.missing,
        "tests": [
            {
                "of": test.of,
                "method": test.method,
                "change": test.change,
                "p_worse": test.p_worse,
                "p_better": test.p_better,
                "alpha": test.alpha,
                "detectable": test.detectable,
            }
            for test in compared.tests
        ],
        "worse": [_pair(change) for change in compared.worse],
        "better": [_pair(change) for change in compared.better],
        "warnings": list(compared.warnings),
    }


def _tested(test: PairTest, before: float, after: float, changes: Sequence[Change]) -> Iterator[str]:
    if test.of == "passed":
        worse, better = sum(c.worse for c in changes), sum(c.better for c in changes)
        yield f"passed: {before:.1%} before, {after:.1%} now; {worse:,} worse and {better:,} better of {test.pairs:,} pairs ({_p(test)})"
        return
    old, new = (_mean([side.score for side in sides]) for sides in _sides(changes))
    yield f"score: {old:.3f} before, {new:.3f} now ({test.change:+.3f}) over {test.pairs:,} pairs ({_p(test)})"


def _p(test: PairTest) -> str:
    p = min(test.p_worse, test.p_better)
    said = f"p = {p:.2g}" if p >= 0.0001 else "p < 0.0001"
    return f"{said}; {test.alpha:.2g} or less shows a difference"


def _unseen(tests: Sequence[PairTest], n: int) -> Iterator[str]:
    for test in tests:
        what = "pass rate" if test.of == "passed" else "score"
        if test.detectable is None and test.of == "passed":
            yield f"{n:,} pairs are too few to show any loss"
        elif test.detectable is not None:
            loss = f"{test.detectable:.1%}" if test.of == "passed" else f"{test.detectable:.3f}"
            yield f"a loss of {loss} in {what} would have been seen, 9 times in 10"


def _said(side: Side) -> str:
    output = "no output" if side.output is None else to_json(side.output).decode()
    score = "" if side.score is None else f" (score {side.score:.2f})"
    reason = f": {side.reason}" if side.reason else ""
    return f"{_short(output)}{score}{_short(reason)}"


def _pair(change: Change) -> dict[str, Any]:
    return {
        "case": change.case,
        "sample": change.sample,
        "gain": change.gain,
        "before": _side(change.before),
        "after": _side(change.after),
    }


def _side(side: Side) -> Mapping[str, Any]:
    return {"passed": side.passed, "score": side.score, "output": side.output, "reason": side.reason}


def _sides(changes: Sequence[Change]) -> tuple[list[Side], list[Side]]:
    return [c.before for c in changes], [c.after for c in changes]


def _mean(scores: Sequence[float | None]) -> float:
    return sum(score or 0.0 for score in scores) / len(scores)


def _case(change: Change) -> str:
    return change.case


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
