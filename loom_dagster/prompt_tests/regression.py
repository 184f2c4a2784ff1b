"""What changed since a baseline: the same inputs, paired, record by record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from loom_dagster.errors import Misconfigured
from loom_dagster.prompt_tests.drawing import Row
from loom_dagster.prompt_tests.gathering import at_once
from loom_dagster.prompt_tests.looks import Look, looks
from loom_dagster.prompt_tests.observed import Asks
from loom_dagster.prompt_tests.pairs import Pairs, pair_tests, shown_early, verdict_of
from loom_dagster.prompt_tests.verdicts import Change, Compared, Comparison, Side

__all__ = ["ALPHA", "Sides", "asked", "compare", "recorded", "run_regression"]

ALPHA = 0.05
"""How often a version that is not worse is called so, and one that is not better better."""

Sides = Callable[[Row, int], Awaitable[Side | None]]
"""What a version makes of a row, the how-manieth time; None: it was never asked that."""
Progress = Callable[[int, int], None]


def asked(asks: Asks) -> Sides:
    """A version that can be asked."""

    async def side(row: Row, sample: int) -> Side:
        return Side.of(await asks.ask(row.columns, sample=sample))

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
    planned: int | None = None,
    alpha: float = ALPHA,
    missing: int = 0,
    warnings: Sequence[str] = (),
) -> Compared:
    """All pairs. Raises Misconfigured when there are none."""
    if not changes:
        raise Misconfigured(
            f"nothing to compare with baseline `{baseline}`",
            why="it has none of these inputs" if missing else "there are no inputs",
            fix="name a baseline that was run on the same source, or a git ref",
        )
    look = Look(n=len(changes), planned=planned or len(changes), spends=False)
    tests = pair_tests(Pairs.of(changes), look, alpha)
    return Compared(
        baseline=baseline,
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
    repeat: int = 1,
    early: bool = True,
    alpha: float = ALPHA,
    progress: Progress | None = None,
) -> Compared:
    """Both versions on ``rows`` (in random order), ``repeat`` times each, until a difference is certain. ``early``: not
    before all are asked where false. Raises Misconfigured and Outage."""
    todo = [(row, sample) for row in rows for sample in range(repeat)]
    changes: list[Change] = []
    missing = 0

    async def pair(item: tuple[Row, int]) -> Change | None:
        row, sample = item
        was, now = await before(row, sample), await after(row, sample)
        return (
            None if was is None or now is None else Change(case=row.id, before=was, after=now, sample=sample)
        )

    done = 0
    for look in looks(len(todo)) if early else looks(len(todo))[-1:]:
        found = await at_once(pair, todo[done : look.n])
        done = look.n
        changes += [change for change in found if change is not None]
        missing += sum(change is None for change in found)
        if progress is not None:
            progress(done, len(todo))
        if look.last or not changes:
            continue
        shown = shown_early(Pairs.of(changes), look, alpha)
        if shown is not Comparison.SAME:
            return _certain(changes, shown, look, baseline, alpha, missing)
    return compare(changes, baseline=baseline, alpha=alpha, missing=missing)


def _certain(
    changes: Sequence[Change], shown: Comparison, look: Look, baseline: str, alpha: float, missing: int
) -> Compared:
    costs = [side.cost for c in changes for side in (c.before, c.after) if side.paid or side is c.after]
    known = [cost for cost in costs if cost is not None]
    rest = (look.planned - look.n) / look.n
    return Compared(
        baseline=baseline,
        verdict=shown,
        tests=pair_tests(Pairs.of(changes), look, alpha),
        changes=changes,
        planned=look.planned,
        missing=missing,
        certain=True,
        saved=sum(known) * rest if len(known) == len(costs) else None,
    )
