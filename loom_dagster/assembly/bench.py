"""One test file, put together with its pipeline: what is in it, and what comes of each test."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from loom_dagster.assembly.answering import Answering, BenchOptions
from loom_dagster.assembly.asking import Asker
from loom_dagster.assembly.loop_thread import LoopThread
from loom_dagster.assembly.prepared import Prepared
from loom_dagster.assembly.samples import Samples
from loom_dagster.assembly.suite_items import items_of, names_of, pipeline_known
from loom_dagster.errors import Misconfigured, Outage
from loom_dagster.pipeline import Stop
from loom_dagster.prompt_tests.cases import Case
from loom_dagster.prompt_tests.distributional import run_distributional
from loom_dagster.prompt_tests.items import Item, Result, SampleResult
from loom_dagster.prompt_tests.running import run_case
from loom_dagster.prompt_tests.verdicts import Compared
from loom_dagster.settings import RunOptions
from loom_dagster.spec.suite_file import read_suite
from loom_dagster.spec.suites import DistributionalTest, IntegrationTest

if TYPE_CHECKING:
    from loom_dagster.assembly.loom import Loom

__all__ = ["Bench", "BenchOptions"]


class Bench:
    """A suite that can be run, for as long as the ``with`` lasts. Entering it raises Misconfigured with all that is
    wrong with the file, its pipeline and its cases, before anything is asked."""

    def __init__(self, loom: Loom, path: Path, options: BenchOptions | None = None) -> None:
        self.path = path
        self._loom, self._options = loom, options or BenchOptions()
        self._stack = contextlib.ExitStack()
        self._turn, self._stop = threading.Lock(), Stop()
        self._thread: LoopThread | None = None
        self._asker: Asker | None = None

    def __enter__(self) -> Self:
        self.suite = read_suite(self.path, self._loom.settings.root)
        pipeline_known(self.suite, self._loom.project)
        with contextlib.ExitStack() as stack:
            scratch = stack.enter_context(self._loom.scratch())
            self._ready = self._prepared(scratch)
            self._samples = Samples(self._loom, self._ready, self._run_options, scratch)
            stack.callback(self._samples.close)
            self._names = names_of(self._ready)
            self.items = items_of(self.suite, self._ready, self._names, self._samples)
            self.answering = Answering(self._loom, self.suite, self._ready, self._options)
            stack.callback(self.answering.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """What is still being asked is given up; what was answered is kept. Closing twice is fine."""
        self._stop.request()
        self._stack.close()

    @property
    def name(self) -> str:
        """Of the pipeline."""
        return self.suite.spec.pipeline

    @property
    def version(self) -> str | None:
        return self._ready.spec.version

    @property
    def replays(self) -> bool:
        return self._options.replay

    @property
    def records(self) -> bool:
        return self._options.record

    def check(self, item: Item) -> None:
        """Raises Misconfigured when the records that ``item`` is about cannot be read."""
        if not isinstance(item.spec, DistributionalTest | IntegrationTest):
            return
        try:
            self._samples.check(item.spec)
        except Misconfigured as error:
            what = f"test `{item.name}`: {error.what}"
            raise Misconfigured(
                what, where=item.where, why=error.why, fix=error.fix, problems=error.problems
            ) from error

    def submit(self, item: Item) -> concurrent.futures.Future[Result]:
        """Begin ``item``. The future raises Misconfigured when nothing more can be asked."""
        with self._turn:
            thread = self._thread or self._start()
        return thread.submit(self._run(item))

    def compare(self, items: Sequence[Item], said: str) -> list[Compared]:
        """The pipeline with the baseline ``said``, on the same ``items``. Blocks. Raises Misconfigured and Outage."""
        from loom_dagster.assembly.comparing import Comparing  # reads snapshots and git, and few tests do

        return Comparing(self._loom, self._ready, self._samples, self.answering).compare(items, said)

    async def _run(self, item: Item) -> Result:
        if self._asker is None:
            raise Misconfigured("the suite is closed")
        match item.spec:
            case Case() as case:
                return await run_case(case, self._asker)
            case DistributionalTest() as test:
                return await self._run_sample(item, test)
            case IntegrationTest() as test:
                return await asyncio.to_thread(self._run_whole, item, test)

    async def _run_sample(self, item: Item, test: DistributionalTest) -> Result:
        sample = await asyncio.to_thread(self._samples.of, test)
        if self._asker is None:
            raise Misconfigured("the suite is closed")
        if not sample.drawn.rows:
            return SampleResult(item=item, not_asked=f"there are no records in {sample.place}")
        try:
            sampled = await run_distributional(
                test, sample.drawn, self._asker, names=self._names, truth=sample.truth, reference=sample.reference
            )  # fmt: skip
        except Outage as error:
            return SampleResult(item=item, not_asked=error.sentence())
        return SampleResult(item=item, sampled=sampled)

    def _run_whole(self, item: Item, test: IntegrationTest) -> Result:
        from loom_dagster.assembly.end_to_end import EndToEnd, judged  # opens a ledger, and few tests do

        ready, drawn = self._samples.whole(test)
        whole = EndToEnd(ready=ready, answering=self.answering, clock=self._loom.clock)
        scratch = Path(tempfile.mkdtemp(dir=self._samples.scratch))
        outcome = whole.run({row.id for row in drawn.rows}, scratch, self._stop)
        return judged(item, test, outcome, drawn)

    def _start(self) -> LoopThread:
        """To be called by one at a time."""
        thread, opened = LoopThread(f"loom-tests-{self.name}"), contextlib.AsyncExitStack()

        def end() -> None:
            self._asker = None
            thread.give_up()
            thread.submit(opened.aclose()).result()
            thread.close()

        self._stack.callback(end)
        self._asker = thread.submit(opened.enter_async_context(self.answering.asker())).result()
        self._thread = thread
        return thread

    @property
    def _run_options(self) -> RunOptions:
        return RunOptions(model=self._options.model, offline=self._options.offline, full_refresh=True)

    def _prepared(self, scratch: Path) -> Prepared:
        """The pipeline without its source, which cases do not need, and to be replayed without its keys."""
        without = ("source", "keys") if self._options.replay else ("source",)
        options = self._run_options
        ready = self._loom.prepared(self.name, options, scratch, validating=True, without=without)
        ready.require()
        return ready
