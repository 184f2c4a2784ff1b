"""All four stages for a few records, into a scratch destination: an integration test.

The run has a ledger, snapshots and a destination of its own, which are gone when it has ended. Answers come from the
project's store, and what is paid for stands in the project's books.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import pyarrow as pa

from loom_dagster.assembly.answering import Answering
from loom_dagster.assembly.increments import Start
from loom_dagster.assembly.loading import load_released
from loom_dagster.assembly.plan import Materials, make_plan
from loom_dagster.assembly.prepared import Prepared
from loom_dagster.clock import Clock
from loom_dagster.gateway import Asks, Question, Spend
from loom_dagster.ledger import Budgets, Ledger, RunHandle, SpendLog
from loom_dagster.ledger.spend import Stored
from loom_dagster.pipeline import Outcome, Plan, Stop, run
from loom_dagster.prompt_tests.drawing import Drawn
from loom_dagster.prompt_tests.expressions import parse
from loom_dagster.prompt_tests.items import Item, RunResult
from loom_dagster.prompt_tests.running import claim_failure
from loom_dagster.prompt_tests.scopes import RUN, lookup_in
from loom_dagster.records import Answer, Batch
from loom_dagster.release import Releases
from loom_dagster.settings import RunOptions
from loom_dagster.spec.models import Monitoring
from loom_dagster.spec.suites import IntegrationTest

__all__ = ["EndToEnd", "judged"]

Heard = Callable[[Question, Answer], None]
Noted = Callable[[str], None]
Opens = Callable[[Heard, Noted, Spend], AbstractAsyncContextManager[Asks]]


class _OwnRuns(Ledger):
    """Keeps runs to itself, and money in the project's ledger."""

    def __init__(self, path: Path, clock: Clock, books: Callable[[], SpendLog] | None) -> None:
        super().__init__(path, clock=clock)
        self._books = books

    def spend(self, run: RunHandle, budgets: Budgets, stored: Stored) -> SpendLog:
        return super().spend(run, Budgets(), stored) if self._books is None else self._books()


@dataclass(frozen=True, slots=True)
class _Told:
    """Answers in place of a gateway, which would tell of each."""

    asks: Asks
    listen: Heard

    async def ask(self, question: Question) -> Answer:
        answer = await self.asks.ask(question)
        self.listen(question, answer)
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """``outcome.load`` says what was loaded. ``cost``: what all answers cost at their time, also those from the store;
    None where a price is not known."""

    outcome: Outcome
    cost: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndToEnd:
    """``ready`` has its source open."""

    ready: Prepared
    answering: Answering
    clock: Clock

    def run(self, ids: Collection[str], scratch: Path, stop: Stop) -> Ended:
        """What came of the records ``ids``. Blocks. Raises Misconfigured."""
        costs = list[float | None]()
        home = scratch / "home"
        home.mkdir(parents=True, exist_ok=True)
        ready = self._redirected(scratch, home)
        books = self.answering.books if self.answering.replayed is None else None
        with _OwnRuns(home / "ledger.sqlite", self.clock, books) as ledger:
            materials = Materials(
                settings=ready.settings,
                store=self.answering.store,
                releases=Releases(ledger, home),
                clock=self.clock,
                shares=self.answering.shares,
                batches=lambda: _only(ids, ready),
            )
            plan = make_plan(ready, materials)
            outcome = run(
                replace(plan, gateway=self._gateway(plan, costs), engine=None),
                ledger,
                fresh=True,
                listen=lambda _: None,
                stop=stop,
                clock=self.clock,
            )
            if outcome.released:
                loaded = load_released(ready.file, ready.settings, ledger, materials.releases)
                outcome = replace(outcome, load=loaded)
        known = [cost for cost in costs if cost is not None]
        return Ended(outcome=outcome, cost=sum(known) if len(known) == len(costs) else None)

    def _redirected(self, scratch: Path, home: Path) -> Prepared:
        """The pipeline, loading into a file in ``scratch`` and keeping its state in ``home``. What people are told of
        runs, they are not told of tests."""
        spec = self.ready.spec
        load = {"destination": str(scratch / "loaded.parquet"), "format": None, "quarantine": None}
        extract = {"partitions": None, "incremental": None}
        parts = {
            "load": spec.load.model_copy(update=load),
            "extract": spec.extract.model_copy(update=extract),
            "monitoring": Monitoring(),
        }
        file = replace(self.ready.file, spec=spec.model_copy(update=parts))
        settings = replace(self.ready.settings, state=str(home), alerts=())
        options = RunOptions()  # no trial: a trial loads nothing
        return replace(self.ready, file=file, settings=settings, options=options, partition="", start=Start())

    def _gateway(self, plan: Plan, costs: list[float | None]) -> Opens:
        def opened(listen: Heard, note: Noted, spend: Spend) -> AbstractAsyncContextManager[Asks]:
            def both(question: Question, answer: Answer) -> None:
                costs.append(answer.cost)
                listen(question, answer)
                self.answering.hear(question, answer)

            if self.answering.replayed is None:
                return plan.gateway(both, note, spend)
            return nullcontext(_Told(self.answering.replayed, both))

        return opened


def _only(ids: Collection[str], ready: Prepared) -> Iterator[Batch]:
    """The rows of ``ids``, as the source gives them and in its order."""
    if ready.source is None:
        return
    position = 0
    for batch in ready.source.batches():
        chosen = [record.id in ids for record in batch.records]
        if not any(chosen):
            continue
        records = [
            replace(record, position=position + row, row=row)
            for row, record in enumerate(compress(batch.records, chosen))
        ]
        yield Batch(index=batch.index, table=batch.table.filter(pa.array(chosen)), records=records)
        position += len(records)


def judged(item: Item, test: IntegrationTest, ended: Ended, drawn: Drawn) -> RunResult:
    """The assertions of ``test``, held against what came of its run."""
    outcome, counts, load = ended.outcome, ended.outcome.counts, ended.outcome.load
    facts = {
        "records_extracted": counts.extracted,
        "records_passed": counts.passed,
        "records_quarantined": counts.quarantined,
        "records_loaded": load.rows if load is not None else 0,
        "total_cost": ended.cost,
        "duration": outcome.seconds.get("total", 0.0) + (load.seconds if load is not None else 0.0),
        "pass_rate": counts.passed / counts.extracted if counts.extracted else None,
    }
    lookup = lookup_in(facts)
    claimed = [reason for text in test.assertions if (reason := claim_failure(parse(text, RUN), lookup))]
    why = [] if outcome.released else [outcome.stopped_by or outcome.verdict.reason]
    if load is not None and load.reason:
        why.append(load.reason)
    answered = not (counts.deferred or outcome.stopped_by)
    failed = bool(claimed) or not answered  # records that were not asked say nothing of the pipeline
    notes = list(outcome.notes) if failed else [*outcome.notes, *why]
    if drawn.available < test.sample_size:
        what = f"{test.sample_size:,} records are wanted and there are {drawn.available:,}: all were used"
        notes.insert(0, what)
    return RunResult(
        item=item,
        answered=answered,
        failures=(*claimed, *why) if failed else (),
        facts=facts,
        notes=tuple(f"{item.name}: {note}" for note in notes),
    )
