"""The driver's side with workers of this process, whose deaths are told as Ray would: whatever becomes of them, each
record is written once, and the tables are a local run's."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.assembly import Loom
from loom_dagster.assembly.nodes import on_ray
from loom_dagster.assembly.plan import make_plan
from loom_dagster.clock import SystemClock
from loom_dagster.cluster.drive import Drive
from loom_dagster.cluster.hands import Gone
from loom_dagster.cluster.settle import _rows
from loom_dagster.cluster.worker import Worker
from loom_dagster.errors import Misconfigured, Outage
from loom_dagster.events import Note, Progress
from loom_dagster.pipeline import Stop, run
from tests.journeys.project import Project

RECORDS = 1_500


class Hand:
    """A worker of this process. ``dies`` is asked with every block it is given, and again when it has its result."""

    def __init__(self, worker, name, dies):
        self.worker, self.name, self._dies = worker, name, dies
        self.dead = asyncio.get_running_loop().create_future()

    async def settle(self, block):
        if self._dies(self, block, "before"):
            self.die()
        made = await self._alive(self.worker.settle(block))
        if self._dies(self, block, "after"):
            self.die()
        await self._alive(asyncio.sleep(0))
        return made

    async def news(self):
        return await self._alive(self.worker.news())

    async def halt(self, error):
        await self._alive(self.worker.halt(error))

    async def stop(self):
        await self._alive(self.worker.stop())

    async def leave(self):
        await self._alive(self.worker.leave())

    def kill(self):
        self.die()
        self.worker._blocks.put(None)
        if self.worker._running is not None:
            self.worker._running.cancel()

    def die(self):
        if not self.dead.done():
            self.dead.set_result(None)

    async def _alive(self, work):
        """What a method gives, unless the worker is dead by then."""
        task = asyncio.ensure_future(work)
        await asyncio.wait([task, self.dead], return_when=asyncio.FIRST_COMPLETED)
        if self.dead.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
            raise Gone("its process ended (test)")
        return task.result()


class Crew:
    def __init__(self, engine, handle, till, wanted, dies):
        self.wanted, self.hired, self.gone = wanted, [], []
        self._kits, self._bundle, self._till, self._dies = engine.kits(handle), engine.bundle(), till, dies
        self._numbers = itertools.count(1)
        self.broken = asyncio.get_running_loop().create_future()

    async def hire(self):
        name = f"w{next(self._numbers)}"
        worker = Worker(name)
        await worker.prepare(self._kits, self._bundle, {}, lambda message: self._till.exchange(name, message))
        self.hired.append(Hand(worker, name, self._dies))
        return self.hired[-1]

    async def lost(self, hand):
        self.gone.append(hand.name)
        await self._till.lost(hand.name)

    async def watch(self, note):
        await self.broken


class Job:
    """A project whose pipeline is run by workers of this process, and its last crew."""

    def __init__(self, root):
        self.project = Project(root)
        self.project.reviews({f"r{n}": f"This is review number {n}, good" for n in range(RECORDS)})
        self.project.pipeline()
        self.crew, self.notes, self.progress = None, [], []
        self.stop = Stop()

    def run(
        self, *, dies=lambda hand, block, when: False, wanted=2, fresh=False, local=False, meanwhile=None
    ):
        loom = Loom.open(self.project.root)
        with loom.scratch() as scratch, loom.materials() as materials:
            ready = loom.prepared("classify", None, scratch)
            plan = make_plan(ready, materials)
            engine = on_ray(ready, plan.source_schema)

            async def settle(work):
                async with engine.tills(work.handle).open() as till:
                    self.crew = Crew(engine, work.handle, till, wanted, dies)
                    if meanwhile is not None:
                        meanwhile(self.crew)
                    try:
                        return await Drive(work, self.crew, _rows(work)).run()
                    finally:
                        for hand in self.crew.hired:
                            hand.kill()

            return run(
                replace(plan, engine=None if local else settle),
                loom.ledger,
                fresh=fresh,
                listen=self._hear,
                stop=self.stop,
                clock=SystemClock(),
            )

    def _hear(self, event):
        if isinstance(event, Note):
            self.notes.append(event.text)
        if isinstance(event, Progress):
            self.progress.append(event)


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path)


def table(path):
    found = pq.read_table(path)
    return found.drop_columns([name for name in found.column_names if name.endswith("run_id")])


def ids(outcome):
    return sorted(
        pq.read_table(outcome.transformed_path)["_loom_record_id"].to_pylist()
        + pq.read_table(outcome.quarantine_path)["record_id"].to_pylist()
    )


ALL = sorted(f"r{n}" for n in range(RECORDS))


def test_tables_counts_and_data_version_are_those_of_a_local_run(job):
    job.project.pipeline(
        evaluate={"evaluators": [{"name": "odd", "type": "regex", "field": "sentiment", "pattern": "pos"}]}
    )
    far = job.run()
    near = job.run(local=True, fresh=True)
    assert far.status == near.status == "succeeded"
    assert far.counts == near.counts
    assert far.data_version == near.data_version
    for one, other in (
        (far.transformed_path, near.transformed_path),
        (far.quarantine_path, near.quarantine_path),
    ):
        assert table(one).equals(table(other))
    [one], [other] = far.scores, near.scores
    assert replace(one, mean=0, std=0) == replace(other, mean=0, std=0)
    assert one.mean == pytest.approx(other.mean)
    assert near.spending.reused == RECORDS  # every answer was stored
    assert len(job.crew.hired) == 2


def test_rows_that_are_no_records_are_where_a_local_run_has_them(job):
    rows = [{"id": f"r{n % 700}" if n % 5 else None, "text": "good"} for n in range(RECORDS)]
    pq.write_table(pa.Table.from_pylist(rows), job.project.root / "data/reviews.parquet")
    far, near = job.run(), job.run(local=True, fresh=True)
    assert far.counts == near.counts
    assert far.counts.source_errors > 300
    assert table(far.quarantine_path).equals(table(near.quarantine_path))


def test_a_run_that_was_begun_here_goes_on_there(job):
    job.stop.request()
    assert job.run(local=True).status == "interrupted"
    job.stop = Stop()
    outcome = job.run()
    assert outcome.resumed
    assert outcome.status == "succeeded"


def test_what_dead_workers_had_is_settled_by_others_and_written_once(job):
    deaths = iter([("before", 2), ("after", 4), ("before", 7), ("after", 8)])
    due, seen = [next(deaths)], [0]

    def dies(hand, block, when):
        seen[0] += when == "before"
        if due[0] is not None and seen[0] >= due[0][1] and when == due[0][0]:
            due[0] = next(deaths, None)
            return True
        return False

    outcome = job.run(dies=dies)
    assert outcome.counts.passed == RECORDS
    assert ids(outcome) == ALL
    assert len(job.crew.gone) == 4
    assert len(job.crew.hired) == 6


def test_a_record_that_kills_its_worker_is_quarantined_and_all_others_pass(job):
    outcome = job.run(dies=lambda hand, block, when: "r777" in block.ids and when == "after")
    [row] = pq.read_table(outcome.quarantine_path).to_pylist()
    assert (row["record_id"], row["kind"]) == ("r777", "worker_died")
    assert "its process ended (test)" in row["reason"]
    assert outcome.counts.passed == RECORDS - 1
    assert ids(outcome) == ALL
    assert outcome.exit_code == 0
    near = job.run(local=True, fresh=True)
    kept = table(near.transformed_path)
    assert table(outcome.transformed_path).equals(
        kept.filter(pa.array([i != "r777" for i in kept["_loom_record_id"].to_pylist()]))
    )


def test_many_records_that_kill_their_worker_stop_the_run_and_the_rest_waits(job):
    bad = {f"r{n}" for n in range(60)}
    outcome = job.run(dies=lambda hand, block, when: bool(bad & {*block.ids}) and when == "before")
    assert outcome.status == "deferred"
    assert "26 records killed the worker" in outcome.stopped_by
    assert outcome.counts.quarantined == 26
    assert outcome.counts.extracted == RECORDS
    assert outcome.counts.conserved


def test_workers_that_die_before_they_settle_anything_stop_the_run(job):
    outcome = job.run(dies=lambda hand, block, when: True)
    assert outcome.status == "deferred"
    assert outcome.counts.deferred == RECORDS
    assert "died one after the other" in outcome.stopped_by
    assert len(job.crew.hired) < 20


def test_a_cluster_that_is_gone_defers_what_is_not_settled(job):
    def dies(hand, block, when):
        if when == "after" and block.index == 1:
            crew[0].broken.set_exception(Outage("the Ray cluster is gone"))
        return False

    crew = []
    outcome = job.run(dies=dies, meanwhile=crew.append)
    assert outcome.status == "deferred"
    assert outcome.stopped_by == "the Ray cluster is gone"
    assert outcome.counts.conserved
    assert outcome.counts.extracted == RECORDS
    assert outcome.counts.passed + outcome.counts.deferred == RECORDS
    assert job.run().counts.passed == RECORDS


def test_a_stopped_run_ends_and_goes_on_later(job):
    def dies(hand, block, when):
        if when == "after":
            job.stop.request()
        return False

    outcome = job.run(dies=dies)
    assert outcome.status == "interrupted"
    assert outcome.counts.passed < RECORDS
    job.stop = Stop()
    assert job.run().counts.passed == RECORDS


def test_progress_comes_to_the_whole_and_is_never_more(job):
    outcome = job.run()
    last = job.progress[-1]
    assert (last.extracted, last.passed) == (RECORDS, RECORDS)
    assert all(p.passed + p.quarantined + p.deferred <= p.extracted <= RECORDS for p in job.progress)
    assert outcome.spending.calls == RECORDS


def test_files_that_differ_on_a_node_are_refused(job):
    def meanwhile(crew):
        crew._kits = replace(crew._kits, identity=replace(crew._kits.identity, fingerprint="0" * 64))

    with pytest.raises(Misconfigured, match="not the one that the run has begun with"):
        job.run(meanwhile=meanwhile)


@pytest.mark.parametrize(("what", "says"), [("python", "Python 3"), ("loom", "loom_dagster 0")])
def test_other_versions_are_refused_with_both(job, what, says):
    def meanwhile(crew):
        crew._kits = replace(crew._kits, identity=replace(crew._kits.identity, **{what: "9.99"}))

    with pytest.raises(Misconfigured, match=rf"the cluster has {says}.*, and this run has \w+ 9\.99"):
        job.run(meanwhile=meanwhile)
