"""One test file, put together with its pipeline: what is in it, and what comes of each test."""

from __future__ import annotations

import concurrent.futures
import contextlib
import shlex
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from loom_dagster.assembly.asking import Asker, Paid, SinceNow, asker, asking, test_handle
from loom_dagster.assembly.loop_thread import LoopThread
from loom_dagster.assembly.plan import Materials
from loom_dagster.assembly.prepared import Prepared
from loom_dagster.assembly.sampling import case_rows
from loom_dagster.errors import Misconfigured, Problem
from loom_dagster.gateway import Question
from loom_dagster.ledger import Budgets
from loom_dagster.prompt_tests.cases import Inputs, cases_of
from loom_dagster.prompt_tests.recordings import Recorded, Recording, Replayed, recording_path
from loom_dagster.prompt_tests.running import run_case
from loom_dagster.prompt_tests.scopes import Names
from loom_dagster.prompt_tests.tests import Result, Test
from loom_dagster.records import Answer, digest
from loom_dagster.settings import RunOptions
from loom_dagster.spec.files import shown_path
from loom_dagster.spec.suite_file import read_suite

if TYPE_CHECKING:
    from loom_dagster.assembly.loom import Loom

__all__ = ["Bench", "TestOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TestOptions:
    """How answers are had: from the store, and asked for where they are not there (default); ``fresh``: all asked anew;
    ``replay``: from the suite's recording only. ``record`` keeps in it what was used. ``budget``: USD, instead of the
    suite's. ``run_id`` is shared by all that share this budget. ``model`` and ``offline`` as of a run."""

    fresh: bool = False
    record: bool = False
    replay: bool = False
    budget: float | None = None
    model: str | None = None
    offline: bool = False
    run_id: str | None = None

    def __post_init__(self) -> None:
        if self.replay and (self.fresh or self.record):
            other = "fresh" if self.fresh else "record"
            raise Misconfigured(f"replay asks nobody, and {other} wants to", fix="leave one of them out")


@dataclass(slots=True)
class _Heard:
    """What is told of every answer, from the bench's own thread."""

    paid: Paid
    recording: Recording | None

    def hear(self, question: Question, answer: Answer) -> None:
        self.paid.hear(question, answer)
        if self.recording is not None:
            origin = question.origin
            self.recording.keep(Recorded(answer=answer, of=origin.record_id, purpose=origin.purpose))


@dataclass(slots=True, kw_only=True)
class Bench:
    """A suite that can be run, for as long as the ``with`` lasts. Entering it raises Misconfigured with all that is
    wrong with the file, its pipeline and its cases, before anything is asked."""

    loom: Loom
    path: Path
    options: TestOptions = field(default_factory=TestOptions)
    tests: list[Test] = field(default_factory=list)
    paid: Paid = field(default_factory=Paid)
    notes: dict[str, None] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._file = read_suite(self.path, self.loom.settings.root)
        self._known()
        with contextlib.ExitStack() as stack:
            self._scratch = stack.enter_context(self.loom.scratch())
            self._ready = self._prepared()
            self._names, self._inputs = _names(self._ready), _inputs(self._ready)
            self.tests = self._tests()
            place = recording_path(self.path)
            self.recording = Recording.load(place, shown_path(place, self.loom.settings.root))
            if self.options.replay and not self.recording.answers:
                what = "there is no recording to replay" if not place.exists() else "the recording is empty"
                raise Misconfigured(what, where=self.recording.shown, fix=f"make it with {self._again}")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """What is still being asked is given up; what was answered is kept. Closing twice is fine."""
        self._stack.close()

    @property
    def name(self) -> str:
        """Of the pipeline."""
        return self._file.spec.pipeline

    @property
    def version(self) -> str | None:
        return self._ready.spec.version

    @property
    def file(self) -> str:
        """As it is shown."""
        return self._file.file

    def submit(self, test: Test) -> concurrent.futures.Future[Result]:
        """Begin ``test``. The future raises Misconfigured when nothing more can be asked."""
        with self._turn:
            if self._loop is None:
                self._start()
        assert self._loop is not None  # noqa: S101 - started just now
        return self._loop.submit(self._run(test))

    _turn: Any = field(default_factory=threading.Lock, repr=False)
    _loop: LoopThread | None = None
    _asker: Asker | None = None
    _replayed: Replayed | None = None

    def _start(self) -> None:
        self._loop = LoopThread(f"loom-tests-{self.name}")
        stack = contextlib.AsyncExitStack()

        def end() -> None:
            assert self._loop is not None  # noqa: S101 - ended once
            self._loop.submit(stack.aclose()).result()
            self._loop.close()

        materials = None if self.options.replay else self._materials()
        spend = None if materials is None else self._spend(materials)
        self._stack.callback(end)
        self._asker = self._loop.submit(self._opened(stack, materials, spend)).result()

    async def _opened(
        self, stack: contextlib.AsyncExitStack, materials: Materials | None, spend: Any
    ) -> Asker:
        if materials is None:
            self._replayed = Replayed(self.recording, self._again)
            return asker(self._ready, self._replayed, 0.0)
        heard = _Heard(self.paid, self.recording if self.options.record else None)
        return await stack.enter_async_context(
            asking(self._ready, materials, spend, listen=heard.hear, note=self.note)
        )

    def note(self, text: str) -> None:
        """Something people should know; each is told once."""
        self.notes.setdefault(text)

    async def _run(self, test: Test) -> Result:
        assert self._asker is not None  # noqa: S101 - it is begun after the start
        return await run_case(test.spec, self._asker)

    def _materials(self) -> Materials:
        from dataclasses import replace

        materials = self._stack.enter_context(self.loom.materials())
        if not self.options.fresh:
            return materials
        return replace(materials, store=SinceNow(materials.store, materials.clock.now().timestamp()))

    def _spend(self, materials: Materials) -> Any:
        """Tests of a pipeline spend of its day's money and the project's month's, and no more than their own cap."""
        own = self.options.budget
        run_id = self.options.run_id
        if own is None:
            own = self._file.spec.budget
            run_id = run_id and f"{run_id}-{digest(self._file.file).hex()[:8]}"
        budgets = Budgets(run=own, day=self._ready.budgets.day, month=self._ready.budgets.month)
        store = materials.store

        def paid(key: bytes, since: float) -> float | None:
            answer = store.get(key, not_before=since)
            return None if answer is None else answer.cost

        handle = test_handle(self.name, run_id, materials)
        return self._stack.enter_context(self.loom.ledger.spend(handle, budgets, paid))

    def _known(self) -> None:
        try:
            self.loom.project.pipeline(self.name)
        except Misconfigured as error:
            if error.problems:  # the pipeline's own
                raise
            problem = Problem(what=error.what, where=self._file.where("pipeline"), fix=error.fix)
            raise Misconfigured(
                error.what, where=problem.where, fix=error.fix, problems=(problem,)
            ) from error

    def _prepared(self) -> Prepared:
        """The pipeline without its source, which cases do not need, and to be replayed without its keys."""
        options = RunOptions(model=self.options.model, offline=self.options.offline)
        without = ("source", "keys") if self.options.replay else ("source",)
        ready = self.loom.prepared(self.name, options, self._scratch, validating=True, without=without)
        ready.require()
        return ready

    def _tests(self) -> list[Test]:
        spec, settings = self._ready.spec, self.loom.settings
        cases = cases_of(
            self._file, self._names, self._inputs, lambda c: case_rows(c, spec, settings, self._scratch)
        )
        return [Test.of_case(case) for case in cases]

    @property
    def _again(self) -> str:
        return f"loom test {shlex.quote(self.name)} --record"


def _names(ready: Prepared) -> Names:
    assert ready.schema is not None  # noqa: S101 - it has no problems
    return Names(fields=ready.schema.fields, evaluators=[e.name for e in ready.spec.evaluate.evaluators])


def _inputs(ready: Prepared) -> Inputs:
    assert ready.prompt is not None  # noqa: S101 - likewise
    needed = ready.prompt.needed
    return Inputs(
        needed=needed, optional=ready.prompt.columns - needed, evaluators=ready.spec.evaluate.evaluators
    )
