"""What changed since a baseline: the same inputs, paired, record by record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from loom_dagster.errors import Misconfigured
from loom_dagster.prompt_tests.drawing import Row
from loom_dagster.prompt_tests.gathering import at_once
from loom_dagster.prompt_tests.looks import Look, looks
from loom_dagster.prompt_tests.observed import Asks, Observed
from loom_dagster.prompt_tests.pairs import Pairs, pair_tests, shown_early, verdict_of
from loom_dagster.prompt_tests.verdicts import Change, Compared, Comparison, Side

__all__ = ["ALPHA", "Sides", "asked", "compare", "recorded", "run_regression"]

ALPHA = 0.05
"""How often a version that is not worse is called so, and one that is not better better."""

Sides = Callable[[Row, int], Awaitable[Side | None]]
"""What a version makes of a row, the how-manieth time; None: it was never asked that."""


def asked(asks: Asks, score: Callable[[Observed], float | None] | None = None) -> Sides:
    """A version that can be asked. ``score``: where it is not that of all its evaluators."""

    async def side(row: Row, sample: int) -> Side:
        seen = await asks.ask(row.columns, sample=sample)
        made = Side.of(seen)
        return made if score is None else replace(made, score=score(seen))

    return side


def recorded(sides: Mapping[str, Side]) -> Sides:
    """A version that was run, by record id."""

    async def side(row: Row, _: int) -> Side | None:
        return sides.get(row.id)

    return side


def compare(
    changes: Sequence[Change],
    *,
    baseline: str,
    of: str = "",
    alpha: float = ALPHA,
    missing: int = 0,
    warnings: Sequence[str] = (),
) -> Compared:
    """All pairs ``of`` something. Raises Misconfigured when there are none."""
    if not changes:
        raise Misconfigured(
            f"nothing to compare with baseline `{baseline}`",
            why="it has none of these inputs" if missing else "there are no inputs",
            fix="name a baseline that was run on the same source, or a git ref",
        )
    look = Look(n=len(changes), planned=len(changes), spends=False)
    tests = pair_tests(Pairs.of(changes), look, alpha)
    return Compared(
        baseline=baseline,
        of=of,
        verdict=verdict_of(tests),
        tests=tests,
        changes=changes,
        planned=look.planned,
        missing=missing,
        warnings=tuple(warnings),
    )


async def run_regression(
    rows: Sequence[Row],
    before: Sides,
    after: Sides,
    *,
    baseline: str,
    of: str = "",
    repeats: Callable[[Row], int] = lambda _: 1,
    early: bool = True,
    alpha: float = ALPHA,
    warnings: Sequence[str] = (),
) -> Compared:
    """Both versions on ``rows`` (in random order), as often as ``repeats`` says of each, until a difference is certain;
    where ``early`` is false, all. Raises Misconfigured and Outage."""
    todo = [(row, sample) for row in rows for sample in range(repeats(row))]
    changes: list[Change] = []
    missing = 0

    async def pair(item: tuple[Row, int]) -> Change | None:
        row, sample = item
        was, now = await before(row, sample), await after(row, sample)
        if was is None or now is None:
            return None
        return Change(case=row.id, before=was, after=now, sample=sample)

    plan, done, shown = looks(len(todo)), 0, Comparison.SAME
    for look in plan if early else plan[-1:]:
        found = await at_once(pair, todo[done : look.n])
        done = look.n
        changes += [change for change in found if change is not None]
        missing += sum(change is None for change in found)
        if changes and not look.last:
            shown = shown_early(Pairs.of(changes), look, alpha)
        if shown is not Comparison.SAME:
            break
    compared = compare(changes, baseline=baseline, of=of, alpha=alpha, missing=missing, warnings=warnings)
    return compared if shown is Comparison.SAME else _certain(compared, shown, done, len(todo))


def _certain(found: Compared, shown: Comparison, done: int, planned: int) -> Compared:
    sides = [side for change in found.changes for side in (change.before, change.after)]
    costs = [side.cost for side in sides if side.cost is not None]
    saved = sum(costs) * (planned - done) / done if costs else None
    return replace(found, verdict=shown, certain=True, planned=planned, saved=saved)
