"""kill -9 after the tables lie in their place and before the ledger knows: the run is open, and goes on."""

from __future__ import annotations

import signal
import subprocess
import sys

import pyarrow.parquet as pq

RUN = """
import os, signal, sys
from pathlib import Path
import pyarrow as pa
from loom_dagster.ledger import Ledger
from loom_dagster.records import Batch, Passed, Record
from loom_dagster.release import BatchResult, Releases, SnapshotWriter, Stamp

state = Path(sys.argv[1])
ledger = Ledger(state / "ledger.sqlite")
run = ledger.begin_run("reviews", "", "f")
source, output = pa.schema([("id", pa.int64())]), pa.schema([("label", pa.string())])
writer = SnapshotWriter(
    Releases(ledger, state).folder("reviews", "", run.run_id), source_schema=source, output_schema=output,
    evaluators=[], stamp=Stamp(run_id=run.run_id, prompt_name="p", prompt_version="1"),
)
record = Record(id="old", position=0, row=0, columns={"id": 1})
table = pa.RecordBatch.from_pylist([{"id": 1}], schema=source)
passed = Passed(record=record, output={"label": "old"}, scores=(), answers=(), model="m")
writer.add(BatchResult(batch=Batch(index=0, table=table, records=[record]), passed=[passed]))
if sys.argv[2] == "after the rename":
    print(writer.commit(1).transformed, run.run_id, flush=True)
else:
    print(state, run.run_id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(state, when):
    child = subprocess.run(
        [sys.executable, "-c", RUN, str(state), when], capture_output=True, text=True, check=False
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    return child.stdout.split()


def test_after_the_rename_the_run_is_repeated_in_the_same_place(state, ledger, releases, make, concluded):
    path, run_id = killed(state, "after the rename")
    assert pq.read_table(path).num_rows == 1
    assert releases.latest("reviews") is None  # nobody reads what is not registered
    assert ledger.open_run("reviews").run_id == run_id
    handle = ledger.begin_run("reviews", "", "f")  # at once: its owner is dead
    assert (handle.run_id, handle.resumed) == (run_id, True)
    directory = releases.folder("reviews", "", run_id)
    snapshot = concluded(handle, make.written(directory, "ppf", run_id=run_id))
    assert str(snapshot.transformed) == path
    assert releases.read_table("reviews").column("_loom_record_id").to_pylist() == ["r0", "r1"]
    assert [p.name for p in directory.parent.iterdir()] == [run_id]


def test_while_writing_nothing_is_left_that_stands_in_the_way(state, ledger, releases, make, concluded):
    _, run_id = killed(state, "while writing")
    handle = ledger.begin_run("reviews", "", "f")
    assert handle.run_id == run_id
    directory = releases.folder("reviews", "", run_id)
    assert not directory.exists()
    concluded(handle, make.written(directory, "pp", run_id=run_id))
    assert [p.name for p in directory.parent.iterdir()] == [run_id]
