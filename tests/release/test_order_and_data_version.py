"""Whatever order batches come in, the tables and their version are the same."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loom_dagster.release import BatchResult


@pytest.fixture
def place(state):
    return state / "datasets" / "reviews" / "all" / "run-1"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), fates=st.text("pfdx", max_size=24), size=st.integers(1, 5))
def test_tables_keep_the_order_of_the_source(make, data, fates, size):
    folder = Path(tempfile.mkdtemp())
    try:
        results = list(make.results(fates, size))
        shuffled = data.draw(st.permutations([mixed(r, data) for r in results]))
        writer = make.writer(folder / "shuffled")
        for result in shuffled:
            writer.add(result)
        written = writer.commit(len(results))
        straight = make.written(folder / "straight", fates, size=size)
        for name in ("transformed", "quarantine", "quarantine_source"):
            one, other = (pq.read_table(folder / f / f"{name}.parquet") for f in ("shuffled", "straight"))
            assert one.equals(other), name
        ids = [r["_loom_record_id"] for r in pq.read_table(written.transformed).to_pylist()]
        assert ids == [f"r{i}" for i, fate in enumerate(fates) if fate == "p"]
        assert pq.read_table(written.quarantine).column("position").to_pylist() == [
            i for i, fate in enumerate(fates) if fate in "fx"
        ]
        assert written.data_version == straight.data_version
        counts = (written.passed, written.quarantined, written.deferred, written.source_errors)
        assert counts == (
            fates.count("p"),
            fates.count("f") + fates.count("x"),
            fates.count("d"),
            fates.count("x"),
        )
        assert {p.stem for p in (folder / "shuffled").iterdir()} <= {
            "transformed", "quarantine", "quarantine_source", "deferred",
        }  # fmt: skip
        assert {p.suffix for p in (folder / "shuffled").iterdir()} == {".parquet", ".idx"}
    finally:
        shutil.rmtree(folder)


def mixed(result: BatchResult, data):
    """Within a batch, too, records are done in any order."""
    return replace(
        result,
        passed=data.draw(st.permutations(result.passed)),
        quarantined=data.draw(st.permutations(result.quarantined)),
        deferred=data.draw(st.permutations(result.deferred)),
    )


def test_the_version_of_the_data_is_not_that_of_the_run(make, state):
    one = make.written(state / "a", "ppfpp", size=2, run_id="run-1").data_version
    assert make.written(state / "b", "ppfpp", size=3, run_id="run-2").data_version == one
    assert make.written(state / "c", "ppppp", size=2).data_version != one


@pytest.mark.parametrize("change", [{"output": {"label": "good", "weight": 99}}, {"model": "other"}])
def test_another_output_or_model_is_another_version(make, state, change):
    [record] = make.records(0, 1)
    versions = set()
    for name, given_ in (("a", {}), ("b", change), ("c", {"answers": (make.answer(latency=9.0),)})):
        writer = make.writer(state / name)
        writer.add(BatchResult(batch=make.batch(0, [record]), passed=[make.passed(record, **given_)]))
        versions.add(writer.commit(1).data_version)
    assert len(versions) == 2


def test_waiting_batches_lie_on_disk_and_not_in_memory(make, place):
    writer = make.writer(place)
    late, *rest = make.results("p" * 40)
    for result in rest:
        writer.add(result)
    assert len(list((place.parent / ".run-1.writing" / "spill").iterdir())) == len(rest)
    writer.add(late)
    assert list((place.parent / ".run-1.writing" / "spill").iterdir()) == []
    assert writer.commit(20).passed == 40


def test_nothing_is_at_its_place_before_all_of_it_is(make, place):
    writer = make.writer(place)
    results = list(make.results("pppf"))
    writer.add(results[0])
    assert not place.exists()
    writer.add(results[1])
    writer.commit(2)
    assert place.exists()
    assert [p.name for p in place.parent.iterdir()] == ["run-1"]


def test_what_a_killed_run_left_is_replaced_whole(make, place):
    make.written(place, "ppp")
    (place / "of-old").write_text("x")
    half = make.writer(place)
    half.add(next(make.results("pp")))
    written = make.written(place, "pf")  # another process, after a kill
    assert not (place / "of-old").exists()
    assert (written.passed, pq.read_table(written.transformed).num_rows) == (1, 1)
    assert [p.name for p in place.parent.iterdir()] == ["run-1"]


def test_a_row_is_found_by_its_place_in_the_batch_and_never_by_luck(make, place):
    one, two = make.records(0, 2)
    turned = [replace(one, row=1), replace(two, row=0)]
    batch = make.batch(0, [two, one])
    writer = make.writer(place)
    writer.add(BatchResult(batch=replace(batch, records=turned), passed=[make.passed(r) for r in turned]))
    rows = pq.read_table(writer.commit(1).transformed).to_pylist()
    assert [(r["id"], r["_loom_record_id"]) for r in rows] == [(0, "r0"), (1, "r1")]
