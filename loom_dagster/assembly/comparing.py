"""``loom test --baseline``: what a pipeline and an earlier version of it make of the same cases and records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loom_dagster.assembly.answering import Answering
from loom_dagster.assembly.asking import Asker, asker
from loom_dagster.assembly.baseline import Commit, baseline_of, commit_asker, past_sides
from loom_dagster.assembly.loop_thread import LoopThread
from loom_dagster.assembly.prepared import Prepared
from loom_dagster.assembly.samples import Samples
from loom_dagster.errors import Misconfigured
from loom_dagster.prompt_tests.cases import Case
from loom_dagster.prompt_tests.drawing import Drawn, Row
from loom_dagster.prompt_tests.items import Item
from loom_dagster.prompt_tests.regression import ALPHA, Sides, asked, run_regression
from loom_dagster.prompt_tests.running import failures_of
from loom_dagster.prompt_tests.verdicts import Compared, Side
from loom_dagster.release import Snapshot
from loom_dagster.spec.suites import DistributionalTest

if TYPE_CHECKING:
    from loom_dagster.assembly.loom import Loom

__all__ = ["PAIRS", "Comparing"]

PAIRS = 800
"""Records of a run, where no test says how many: enough to find a pass rate that fell from 95% to 90% (docs/statistics.md)."""


@dataclass(frozen=True, slots=True)
class Comparing:
    """Of one suite."""

    loom: Loom
    ready: Prepared
    samples: Samples
    answering: Answering

    def compare(self, items: Sequence[Item], said: str) -> list[Compared]:
        """With a run: as many of its records as the largest sample among ``items``. With a commit: the cases among them, and
        each sample. Blocks. Raises Misconfigured, with the fix for a baseline that is gone, and Outage."""
        baseline = baseline_of(self.loom, self.ready.spec.name, said)
        tests = [item.spec for item in items if isinstance(item.spec, DistributionalTest)]
        cases = [item.spec for item in items if isinstance(item.spec, Case)]
        if isinstance(baseline, Commit) and not tests and not cases:
            raise Misconfigured(
                "there is nothing to compare", why="no case and no sample is chosen", fix="choose others"
            )
        thread = LoopThread("loom-compare")
        try:
            if isinstance(baseline, Commit):
                drawn = [(_named(test), self.samples.of(test).drawn) for test in _largest(tests)]
                return thread.submit(self._with_commit(baseline, cases, drawn)).result()
            return [thread.submit(self._with_run(baseline, tests)).result()]
        finally:
            thread.give_up()
            thread.close()

    async def _with_run(self, snapshot: Snapshot, tests: Sequence[DistributionalTest]) -> Compared:
        size = max((test.sample_size for test in tests), default=PAIRS)
        seed = tests[0].seed if tests else 0
        async with self.answering.asker() as now:
            past = past_sides(
                snapshot, self.ready.spec, now, size=size, seed=seed, redactor=self.ready.redactor
            )
            return await run_regression(
                past.drawn.rows,
                past.before,
                past.after,
                baseline=f"run {snapshot.id}",
                of="records",
                warnings=past.warnings,
            )

    async def _with_commit(
        self, commit: Commit, cases: Sequence[Case], samples: Sequence[tuple[str, Drawn]]
    ) -> list[Compared]:
        alpha = ALPHA / (len(samples) + bool(cases))  # of all comparisons together
        async with self.answering.asks() as asks:
            now = asker(self.ready, asks, self.loom.clock.now().timestamp())
            then = commit_asker(self.loom, self.ready, commit, self.samples.scratch, now, asks)
            found = []
            if cases:
                found.append(await _of_cases(cases, then, now, str(commit), alpha))
            for name, drawn in samples:
                compared = await run_regression(
                    drawn.rows, asked(then), asked(now), baseline=str(commit), of=name, alpha=alpha
                )
                found.append(compared)
        return found


def _largest(tests: Sequence[DistributionalTest]) -> list[DistributionalTest]:
    """Of each source and seed: a smaller sample is a part of the larger one."""
    found: dict[tuple[str | None, int], DistributionalTest] = {}
    for test in sorted(tests, key=lambda test: test.sample_size):
        found[(test.source, test.seed)] = test
    return list(found.values())


def _named(test: DistributionalTest) -> str:
    return "records" if test.source is None else f"records of {test.source}"


async def _of_cases(cases: Sequence[Case], then: Asker, now: Asker, baseline: str, alpha: float) -> Compared:
    """All of them, for each has its own say; repeats are pairs of their own."""
    named = {case.name: case for case in cases}

    def sides(of: Asker) -> Sides:
        async def side(row: Row, sample: int) -> Side:
            case = named[row.id]
            seen = await of.ask(case.columns, sample=sample, name=case.name)
            failures = failures_of(case, seen)
            return Side.of(seen, passed=not failures, reason="; ".join(failures))

        return side

    return await run_regression(
        [Row(case.name, case.columns) for case in cases],
        sides(then),
        sides(now),
        baseline=baseline,
        of="cases",
        repeats=lambda row: named[row.id].repeat,
        early=False,
        alpha=alpha,
    )
