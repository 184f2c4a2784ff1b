"""`loom clean` in a project: what is old goes, what anybody needs stays, and ledger and files agree whatever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.assembly import Loom
from loom_dagster.assembly.cleaning import Old, clean
from loom_dagster.clock import SystemClock
from loom_dagster.errors import Misconfigured
from loom_dagster.settings import RunOptions
from tests.journeys.project import Project

TEXTS = {f"r{i}": f"text {i}" for i in range(6)}


class InFortyDays(SystemClock):
    def now(self):
        return datetime.now(UTC) + timedelta(days=40)


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path / "project")
    made.reviews(TEXTS)
    made.pipeline()
    return made


@pytest.fixture
def loom(project):
    opened = Loom.open(project.root, {})
    yield opened
    opened.ledger.close()


def run(loom, times=1, name="classify", **options):
    done = [loom.run(name, RunOptions(fresh=True, **options)) for _ in range(times)]
    return done[-1]


def cleaned(loom, *pipelines, what=("snapshots", "answers", "runs", "scratch"), do=True):
    loom.clock = InFortyDays()
    old = Old(than=timedelta(days=30), said="30d", pipelines=pipelines, what=what)
    found = clean(loom, old, do=do, who="ada", why="full disk")
    loom.clock = SystemClock()
    return {(part.what, part.pipeline): part.number for part in found.parts}, found.left_out


def folders(project, name="classify", partition="all"):
    return sorted(f.name for f in (project.root / ".loom" / "datasets" / name / partition).iterdir())


def test_old_snapshots_go_and_what_is_released_is_still_read(loom, project):
    old, _, newest = (run(loom) for _ in range(3))
    looked, _ = cleaned(loom, what=["snapshots"], do=False)
    assert looked == {("snapshots", "classify"): 2}
    assert len(folders(project)) == 3
    assert cleaned(loom, what=["snapshots"]) == (looked, [])
    assert folders(project) == [newest.run_id]
    assert loom.releases.read_table("classify").num_rows == 6
    snapshot = loom.releases.snapshot("classify", old.run_id)
    assert snapshot.cleaned_at is not None
    assert "removed by `loom clean` on 20" in str(snapshot.gone(snapshot.transformed))
    assert cleaned(loom, what=["snapshots"]) == ({}, [])


def test_who_removed_what_is_kept(loom):
    old, _ = run(loom), run(loom)
    cleaned(loom)
    by = {entry.subject: entry for entry in loom.ledger.audit.entries()}
    assert {(e.who, e.why, e.action) for e in by.values()} == {("ada", "full disk", "clean")}
    assert by["snapshots"].detail == {"older_than": "30d", "snapshots": 1, "runs": [old.run_id]}
    assert by["answers"].detail["answers"] == 6
    assert loom.ledger.audit.verify()[2] is None


def test_what_is_younger_stays(loom):
    run(loom, 3)
    old = Old(than=timedelta(days=30), said="30d")
    assert clean(loom, old, do=True).parts == []


def test_increments_are_still_one_table(loom, project):
    columns = {"id": ["a", "b"], "text": ["t", "u"], "at": [1, 2]}
    place = project.root / "data" / "reviews.parquet"
    pq.write_table(pa.table(columns), place)
    project.pipeline(extract={"incremental": {"cursor": "at"}})
    loom = Loom.open(project.root, {})
    for at in (3, 4):
        loom.run("classify")
        loom.load("classify")
        more = {"id": [f"n{at}"], "text": ["v"], "at": [at]}
        pq.write_table(pa.concat_tables([pq.read_table(place), pa.table(more)]), place)
    loom.run("classify")
    before = folders(project)
    assert cleaned(loom, what=["snapshots"]) == ({}, [])
    assert folders(project) == before
    assert set(loom.releases.read_table("classify").column("id").to_pylist()) == {"a", "b", "n3", "n4"}


def test_a_partition_with_a_run_and_a_pipeline_that_is_being_read_are_left_out(loom, project):
    run(loom, 2)
    handle = loom.ledger.begin_run("classify", "", "f")
    assert cleaned(loom, what=["snapshots"]) == ({}, ["classify: a run is going on"])
    loom.ledger.finish_run(handle, "failed", outcome={})
    project.pipeline("below", extract={"source": "pipeline://classify", "key": "id"})
    loom = Loom.open(project.root, {})
    handle = loom.ledger.begin_run("below", "", "f")
    number, left_out = cleaned(loom, "classify", what=["snapshots"])
    assert (number, left_out) == ({}, ["classify: below, which reads it, is running"])
    loom.ledger.finish_run(handle, "failed", outcome={})
    assert cleaned(loom, "classify", what=["snapshots"])[0] == {("snapshots", "classify"): 1}


def test_an_answer_that_an_open_run_needs_stays_so_that_nothing_is_paid_for_twice(loom):
    run(loom)
    loom.ledger.leave_run(loom.ledger.begin_run("classify", "", "f"))  # killed; the next start continues it
    numbers, left_out = cleaned(loom, what=["answers"])
    assert (numbers, left_out) == ({}, ["classify: its answers stay, as a run of it has not ended"])
    again = loom.run("classify").spending
    assert (again.calls, again.reused) == (0, 6)


def test_old_answers_go_and_are_asked_anew(loom):
    run(loom)
    assert cleaned(loom, what=["answers"])[0] == {("answers", ""): 6}
    assert loom.upkeep.groups() == []
    assert run(loom).spending.calls == 6


def test_answers_of_other_pipelines_stay(loom, project):
    project.write("prompts/other.txt", "Other. {{ input.text }}")
    project.pipeline("other", transform={"prompt": "prompts/other.txt"})
    loom = Loom.open(project.root, {})
    run(loom)
    run(loom, name="other")
    assert cleaned(loom, "other", what=["answers"])[0] == {("answers", ""): 6}
    assert {group.pipeline for group in loom.upkeep.groups()} == {"classify"}


def test_history_stays_and_its_samples_go(loom):
    outcome = run(loom)
    numbers, _ = cleaned(loom, what=["runs"])
    assert numbers == {("samples of runs", ""): 1}
    kept = loom.ledger.run(outcome.run_id).outcome
    assert (kept["sample"], kept["quarantine_sample"], kept["counts"]["passed"]) == ([], [], 6)
    assert loom.ledger.metrics(outcome.run_id)
    assert cleaned(loom, what=["runs"])[0] == {}


def test_settled_quarantine_entries_go_and_those_that_wait_never_do(loom, project):
    exact = {"name": "agrees", "type": "exact_match", "field": "sentiment", "reference_field": "text"}
    project.pipeline(evaluate={"evaluators": [exact]})
    loom = Loom.open(project.root, {})
    run(loom)
    loom.resolve("classify", ["r1", "r2"], resolution="spam", who="bo")
    assert ("settled quarantine entries", "") not in cleaned(loom)[0]  # their snapshot is the newest
    project.reviews({i: text for i, text in TEXTS.items() if i not in ("r1", "r2")})
    run(loom)
    assert cleaned(loom)[0]["settled quarantine entries", ""] == 2
    left = {entry.record_id for entry in loom.quarantine("classify", resolved=True)}
    assert left == {"r0", "r3", "r4", "r5"}
    assert len(folders(project)) == 1


def test_what_was_settled_stays_so_in_a_table_that_was_made_of_an_older_one(loom, project):
    exact = {"name": "agrees", "type": "exact_match", "field": "sentiment", "reference_field": "text"}
    project.pipeline(evaluate={"evaluators": [exact]})
    loom = Loom.open(project.root, {})
    run(loom)
    loom.resolve("classify", ["r1"], resolution="spam", who="bo")
    loom.retry("classify", ["r0"])  # the newest table has the others from the one before
    loom.resolve("classify", ["r0", "r2", "r3", "r4", "r5"], resolution="fine", who="bo")
    cleaned(loom)
    table = loom.releases.quarantine_table("classify")
    said = dict(zip(*(table.column(c).to_pylist() for c in ("record_id", "resolution")), strict=True))
    assert said == {"r0": "fine", **dict.fromkeys(("r1", "r2", "r3", "r4", "r5"), "settled before")}
    assert table.column("resolved_at").null_count == 0


def test_a_pipeline_that_is_gone_is_cleaned_by_its_name(loom, project):
    run(loom, 2)
    project.pipeline("other")
    (project.root / "pipelines" / "classify.yaml").unlink()
    loom = Loom.open(project.root, {})
    assert cleaned(loom, what=["snapshots"])[0] == {("snapshots", "classify"): 1}
    assert cleaned(loom, "classify", what=["snapshots"])[0] == {("snapshots", "classify"): 1}
    assert folders(project) == []
    with pytest.raises(Misconfigured, match="other"):
        cleaned(loom, "othr")
    project.pipeline()
    again = Loom.open(project.root, {})
    with pytest.raises(Misconfigured, match="removed by `loom clean`") as told:
        again.releases.read_transformed("classify")
    assert told.value.kind == "snapshot_gone"
    run(again)
    assert again.releases.read_table("classify").num_rows == 6


def test_what_killed_processes_left_goes(loom, project):
    run(loom)
    state = project.root / ".loom"
    for left in (
        state / "scratch" / "999999999-x",
        state / "datasets" / "classify" / "all" / "20200101T000000-abcdef",
    ):
        left.mkdir(parents=True)
        (left / "file").write_bytes(b"x" * 100)
    os.utime(state / "scratch" / "999999999-x", (0, 0))  # nobody knows of which machine: it is old
    (state / "crash-20200101T000000.txt").write_text("Traceback")
    (state / "reports").mkdir()
    (state / "reports" / "classify-20200101T000000-abcdef.html").write_text("a run, with records of it")
    batch = loom.ledger.batches.begin(
        loom.ledger.begin_run("other", "", "f"), provider="openai", endpoint="", model="m"
    )
    (state / "batches").mkdir()
    for name in (batch, "0123456789abcdef"):
        (state / "batches" / f"{name}.jsonl").write_text("questions, with records in them")
    numbers, _ = cleaned(loom)
    assert (numbers[("leftover folders", "classify")], numbers[("scratch", "")]) == (1, 4)
    assert [path.stem for path in (state / "batches").iterdir()] == [batch], "it is gathered yet"
    assert not list((state / "scratch").iterdir()) and not list((state / "reports").iterdir())
    assert len(folders(project)) == 1


def test_tables_of_several_partitions_go_and_are_made_anew_for_who_reads_them(loom, project):
    days = ["2024-01-01", "2024-01-02"]
    rows = [f"{id_},{day}T08:00:00,text" for id_, day in zip("ab", days, strict=True)]
    project.write("data/in.csv", "\n".join(["id,at,text", *rows]))
    daily = {"every": "daily", "start": days[0], "end": "2024-01-03", "column": "at"}
    project.pipeline(
        extract={"source": "data/in.csv", "key": "id", "partitions": daily}, load={"destination": "out/"}
    )
    loom = Loom.open(project.root, {})
    for day in days:
        loom.run("classify", partition=day)
    made = loom.releases.read_together("classify", days, keyed=True)
    assert cleaned(loom)[0][("leftover folders", "classify")] == 1
    assert not made.exists()
    assert pq.read_table(loom.releases.read_together("classify", days, keyed=True)).num_rows == 2


def test_nothing_outside_goes_and_nothing_that_is_not_ours(loom, project, tmp_path):
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep" / "file").write_text("precious")
    old, newest = run(loom), run(loom)
    place = project.root / ".loom" / "datasets" / "classify" / "all"
    (place / "20200101T000000-abcdef").symlink_to(outside)
    (place / old.run_id).rename(tmp_path / "moved")
    (place / old.run_id).symlink_to(tmp_path / "moved")
    (place / "notes").mkdir()
    numbers, left_out = cleaned(loom, what=["snapshots"])
    assert (numbers[("snapshots", "classify")], left_out) == (1, [])
    assert folders(project) == [newest.run_id, "notes"]
    assert (outside / "deep" / "file").read_text() == "precious"
    assert (tmp_path / "moved" / "transformed.parquet").exists()
    assert cleaned(loom, what=["snapshots"]) == ({}, [])


def test_what_cannot_be_removed_is_said(loom, project, monkeypatch):
    old, _ = run(loom), run(loom)
    with monkeypatch.context() as patch:  # as on a disk that is mounted read-only, which root sees too
        patch.setattr("shutil.rmtree", lambda *args, **how: None)
        _, left_out = cleaned(loom, what=["snapshots"])
    assert len(left_out) == 1
    assert old.run_id in left_out[0]
    assert "cannot be removed" in left_out[0]
    assert cleaned(loom, what=["snapshots"]) == ({("leftover folders", "classify"): 1}, [])


KILLED = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
from loom_dagster.assembly import Loom, cleaning
from tests.assembly.test_cleaning import InFortyDays
cleaning.remove = lambda paths: os.kill(os.getpid(), signal.SIGKILL)
loom = Loom.open(Path(sys.argv[1]), {})
loom.clock = InFortyDays()
cleaning.clean(loom, cleaning.Old(than=timedelta(days=30), said="30d", what=("snapshots",)), do=True, who="ada")
"""


def test_killed_in_the_middle_ledger_and_files_agree(loom, project):
    old, newest = run(loom), run(loom)
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(project.root)], capture_output=True, check=False
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert len(folders(project)) == 2
    snapshot = loom.releases.snapshot("classify", old.run_id)
    assert snapshot.cleaned_at is not None  # nobody reads half of it
    assert [entry.subject for entry in loom.ledger.audit.entries()] == ["snapshots"]
    clean(loom, Old(than=timedelta(days=30), said="30d"), do=True, who="ada")  # it is young, and marked
    assert folders(project) == [newest.run_id]
