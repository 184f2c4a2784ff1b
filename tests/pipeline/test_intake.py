"""What is open at once is bounded, whatever the source, the size of its batches and slow records do."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest

from loom_dagster.pipeline import Deferred, Pace, Route, Stop, Streamed, Tally, stream
from loom_dagster.pipeline.intake import Intake, OpenPiece, Room
from loom_dagster.records import Batch, Passed, Quarantined, Record, Stage
from loom_dagster.release import BatchResult


def batch(index: int, start: int, rows: int, rejected: tuple[int, ...] = ()) -> Batch:
    """``rows`` positions from ``start``, those in ``rejected`` among them."""
    places = [p for p in range(start, start + rows) if p not in rejected]
    return Batch(
        index=index,
        table=pa.record_batch({"text": [f"text {p}" for p in places]}),
        records=[Record(id=f"r{p}", position=p, row=i, columns={}) for i, p in enumerate(places)],
        rejected=[
            Quarantined(id=f"x{p}", position=p, stage=Stage.EXTRACT, reason="no", kind="null_key", source={})
            for p in rejected
        ],
    )


class Source:
    """Batches without end, and how many were asked for."""

    def __init__(self, rows: int, batches: int) -> None:
        self.rows, self.left, self.read = rows, batches, 0

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self.read == self.left:
            raise StopIteration
        self.read += 1
        return batch(self.read - 1, (self.read - 1) * self.rows, self.rows)


class Kept:
    """A writer that keeps the rows of what it was given, by number of the piece."""

    def __init__(self) -> None:
        self.pieces: dict[int, list[int]] = {}

    def add(self, result: BatchResult) -> None:
        rows = [p.record.position for p in result.passed]
        rows += [q.position for q in result.quarantined] + [d[1] for d in result.deferred]
        self.pieces[result.batch.index] = sorted(rows)


class Waits(Route):
    """Settles a record at once, but for those in ``slow``, which wait until they are let go."""

    def __init__(self, slow: Callable[[Record], bool]) -> None:
        super().__init__(transform=None, judges=None)  # type: ignore[arg-type]
        self.slow, self.go, self.waiting = slow, asyncio.Event(), 0

    async def settle(self, record: Record) -> Passed | Deferred:
        if self.slow(record):
            self.waiting += 1
            await self.go.wait()
        return Passed(record=record, output={}, scores=(), answers=(), model="m")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.to_thread(bool)  # the threads that read and write get their turn


def begin(source: Iterator[Batch], route: Waits, pace: Pace) -> tuple[Kept, Tally, asyncio.Task[Streamed]]:
    writer, tally = Kept(), Tally([], lambda: 0.0)
    work = stream(source, route, writer, tally, Stop(), pace=pace, on_tick=lambda: None)
    return writer, tally, asyncio.create_task(work)


@pytest.mark.parametrize(("rows", "open_rows"), [(10, 100), (30, 120), (300, 300)])
async def test_no_more_is_read_than_there_is_room_for(rows, open_rows):
    source, route = Source(rows, batches=30), Waits(lambda record: True)
    _, tally, running = begin(source, route, Pace(workers=1_000, room=Room(records=100)))
    await until(lambda: route.waiting == open_rows and source.read == open_rows // rows + 1)
    for _ in range(50):  # what would read on has the time to
        await asyncio.to_thread(bool)
    assert (tally.extracted, source.read) == (open_rows, open_rows // rows + 1)
    route.go.set()
    await running
    assert tally.passed == 30 * rows


async def test_large_records_take_more_room():
    source, route = Source(10, batches=30), Waits(lambda record: True)
    size = batch(0, 0, 10).table.nbytes
    _, tally, running = begin(source, route, Pace(workers=1_000, room=Room(size=size * 5)))
    await until(lambda: route.waiting == 50)
    for _ in range(50):
        await asyncio.to_thread(bool)
    assert tally.extracted == 50
    route.go.set()
    await running
    assert tally.passed == 300


async def test_a_slow_record_keeps_only_its_neighbours_from_being_written():
    source, route = Source(1_000, batches=20), Waits(lambda record: record.position == 3)
    writer, tally, running = begin(source, route, Pace(workers=4, room=Room(records=2_000)))
    await until(lambda: sum(map(len, writer.pieces.values())) >= 19_700)  # far more than there is room for
    assert 0 not in writer.pieces
    route.go.set()
    ended = await running
    assert sorted(p for rows in writer.pieces.values() for p in rows) == list(range(20_000))
    assert (ended.batches, tally.passed) == (len(writer.pieces), 20_000)


async def test_pieces_follow_each_other_as_in_the_source():
    begun: list[OpenPiece] = []
    batches = iter(
        [batch(0, 0, 600, rejected=(0, 256, 257, 599)), batch(1, 600, 3, rejected=(600, 601, 602))]
    )
    intake = Intake(batches, room=Room(), on_piece=begun.append)
    handed = 0
    while await intake.take():
        handed += 1
    await intake.close()
    assert handed == 596
    assert [piece.batch.index for piece in begun] == list(range(len(begun)))
    in_order = [
        sorted([*(r.position for r in p.batch.records), *(q.position for q in p.batch.rejected)])
        for p in begun
    ]
    assert [position for piece in in_order for position in piece] == list(range(603))
    for piece in begun:
        for record in piece.batch.records:
            assert piece.batch.table.column("text")[record.row].as_py() == f"text {record.position}"


async def test_workers_that_wait_keep_no_batch_alive():
    tables: list[weakref.ref[pa.RecordBatch]] = []

    def source() -> Iterator[Batch]:
        for i in range(16):
            made = batch(i, i * 10, 10)
            tables.append(weakref.ref(made.table))
            yield made
            del made

    route = Waits(lambda record: record.position == 79)
    writer, tally, running = begin(source(), route, Pace(workers=8, room=Room(records=10)))
    await until(lambda: tally.passed == 79 and len(writer.pieces) == 7)
    await until(lambda: len(tables) == 9)  # the eighth is open, the next one is read ahead
    await until(lambda: [table() is not None for table in tables] == [False] * 7 + [True] * 2)
    route.go.set()
    await running
    assert len(writer.pieces) == 16
