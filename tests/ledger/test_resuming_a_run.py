"""A run stays open until it has ended; the next start continues it."""

from __future__ import annotations

import pytest

from loom_dagster.errors import Misconfigured
from loom_dagster.ledger import Ledger, VersionRow


def test_a_run_id_sorts_by_its_start_and_says_when_it_was(ledger):
    run = ledger.begin_run("reviews", "", "f")
    assert run.run_id.startswith("20261121T031500-")
    assert (run.resumed, run.salt) == (False, run.run_id)


@pytest.mark.parametrize("status", ["deferred", "interrupted"])
def test_what_did_not_end_is_continued(ledger, clock, status):
    first = ledger.begin_run("reviews", "", "f", dagster_run_id="one")
    ledger.finish_run(first, status, outcome={"n": 1}, metrics={"deferred": 4})
    clock.move(3600)
    again = ledger.begin_run("reviews", "", "f", dagster_run_id="two")
    assert (again.run_id, again.resumed, again.started_at) == (first.run_id, True, first.started_at)
    row = ledger.run(first.run_id)
    assert (row.status, row.resumes, row.dagster_run_id, row.finished_at) == ("running", 1, "two", None)
    assert ledger.metrics(first.run_id) == {"deferred": 4}


@pytest.mark.parametrize("status", ["succeeded", "held", "failed"])
def test_what_has_ended_is_not_continued(ledger, status):
    first = ledger.begin_run("reviews", "", "f")
    ledger.finish_run(first, status, outcome={})
    assert ledger.open_run("reviews") is None
    again = ledger.begin_run("reviews", "", "f")
    assert not again.resumed
    assert again.run_id > first.run_id


def test_a_run_of_a_process_that_was_left_without_a_word_is_continued(ledger):
    first = ledger.begin_run("reviews", "", "f")
    ledger.leave_run(first)
    assert ledger.open_run("reviews").run_id == first.run_id
    assert ledger.begin_run("reviews", "", "f").run_id == first.run_id


def test_another_fingerprint_supersedes_the_open_run(ledger):
    first = ledger.begin_run("reviews", "", "f")
    ledger.leave_run(first)
    second = ledger.begin_run("reviews", "", "other")
    assert not second.resumed
    assert ledger.run(first.run_id).status == "superseded"


def test_fresh_supersedes_even_the_same_fingerprint(ledger):
    first = ledger.begin_run("reviews", "", "f")
    ledger.leave_run(first)
    second = ledger.begin_run("reviews", "", "f", fresh=True)
    assert second.run_id != first.run_id
    assert ledger.run(first.run_id).status == "superseded"


def test_pipelines_and_partitions_do_not_meet(ledger):
    runs = [ledger.begin_run(*slot, "f") for slot in (("a", ""), ("b", ""), ("a", "2026-01-01"))]
    assert len({r.run_id for r in runs}) == 3
    assert not any(r.resumed for r in runs)


def test_ids_keep_the_order_of_runs_when_the_clock_is_set_back(ledger, clock, finished):
    ids = []
    for seconds in (0, 0, -7200, 60):
        clock.move(seconds)
        ids.append(finished().run_id)
    assert ids == sorted(set(ids))
    assert ledger.latest_snapshot("reviews").run_id == ids[-1]
    assert [r.run_id for r in ledger.runs("reviews")] == ids[::-1]
    assert len(ledger.runs("reviews", limit=2)) == 2


def test_finishing_again_replaces_what_was_known(ledger):
    run = ledger.begin_run("reviews", "", "f")
    score = {
        "name": "q",
        "type": "regex",
        "threshold": 1.0,
        "passed": 1,
        "failed": 2,
        "errors": 0,
        "mean": 0.5,
    }
    score |= {"std": 0.1, "min": 0.0, "max": 1.0, "histogram": (1, 2)}
    ledger.finish_run(run, "deferred", outcome={}, metrics={"cost": 1.0, "old": 2.0}, evaluations=[score])
    run = ledger.begin_run("reviews", "", "f")
    ledger.finish_run(
        run, "succeeded", outcome={"a": 1}, metrics={"cost": 3.0}, evaluations=[score | {"passed": 3}]
    )
    assert ledger.metrics(run.run_id) == {"cost": 3.0}
    [kept] = ledger.evaluations(run.run_id)
    assert (kept["passed"], kept["histogram"]) == (3, [1, 2])
    assert ledger.run(run.run_id).outcome == {"a": 1}


def test_versions_remember_the_run_that_saw_them_first(ledger):
    prompt = VersionRow(kind="prompt", name="p", version="v1", hash="aa")
    first, second = (ledger.begin_run(n, "", "f") for n in "ab")
    ledger.finish_run(first, "succeeded", outcome={}, versions=[prompt])
    edited = VersionRow(kind="prompt", name="p", version="v1", hash="bb")
    ledger.finish_run(second, "succeeded", outcome={}, versions=[prompt, edited])
    assert set(ledger.versions("prompt")) == {(prompt, first.run_id), (edited, second.run_id)}
    assert ledger.versions("model") == []


def test_an_outcome_no_file_could_hold_is_kept_all_the_same(ledger):
    run = ledger.begin_run("reviews", "", "f")
    ledger.finish_run(run, "failed", outcome={"text": "\ud800 \x00", "mean": float("nan")})
    assert ledger.run(run.run_id).outcome == {"text": "\\ud800 \x00", "mean": "nan"}


def test_a_run_ends_in_a_known_way_or_not_at_all(ledger):
    run = ledger.begin_run("reviews", "", "f")
    with pytest.raises(ValueError, match="great"):
        ledger.finish_run(run, "great", outcome={})
    assert ledger.run(run.run_id).status == "running"


def test_nothing_of_a_run_is_kept_when_a_part_of_it_cannot_be(ledger, snapshot_of):
    run = ledger.begin_run("reviews", "", "f")

    def broken():
        raise OSError("the file is gone")
        yield

    with pytest.raises(OSError, match="gone"):
        ledger.finish_run(run, "succeeded", outcome={}, snapshot=snapshot_of(run), quarantine_rows=broken())
    assert ledger.run(run.run_id).status == "running"
    assert ledger.latest_snapshot("reviews") is None
    ledger.heartbeat(run)


def test_unusable_files_are_told_in_one_sentence(tmp_path):
    (tmp_path / "text").write_text("this is no database, it is a text that goes on for a while " * 40)
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "text", tmp_path / "folder", tmp_path / "text" / "ledger.sqlite"):
        with pytest.raises(Misconfigured) as told:
            Ledger(place)
        assert told.value.kind == "ledger"
        assert str(place) in str(told.value)


def test_a_url_may_be_given(tmp_path):
    with Ledger(f"sqlite:///{tmp_path}/l@a@b.sqlite") as ledger:
        assert ledger.runs() == []
    with pytest.raises(Misconfigured, match="only be a SQLite file or on Postgres") as told:
        Ledger("mysql://me:hush@db/loom")
    assert "hush" not in str(told.value)
