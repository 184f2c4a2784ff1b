"""What is in quarantine, since when, why, and what became of it."""

from __future__ import annotations

from loom_dagster.ledger import IndexRow


def row(record_id, **changes):
    given = {"stage": "evaluate", "kind": "gate_failed", "reason": "q 0.70 < 0.75", "sample": 1}
    return IndexRow(record_id=record_id, **{**given, **changes})


def open_ids(ledger, **options):
    return {e.record_id for e in ledger.quarantine("reviews", unresolved=True, **options)}


def test_a_run_enters_what_it_kept_back(ledger, finished, clock):
    run = finished(quarantine_rows=[row("a"), row("b", stage="transform", kind="refused", reason="no")])
    one, two = ledger.quarantine("reviews")
    assert (one.record_id, one.run_id, one.reason, one.quarantined_at) == (
        "a",
        run.run_id,
        "q 0.70 < 0.75",
        clock.now(),
    )
    assert (two.stage, two.kind, two.resolved_at) == ("transform", "refused", None)


def test_a_skipped_record_is_there_and_settled(ledger, finished, clock):
    finished(quarantine_rows=[row("a", resolution="skipped")])
    assert open_ids(ledger) == set()
    [entry] = ledger.quarantine("reviews")
    assert (entry.resolution, entry.resolved_by, entry.resolved_at) == ("skipped", "on_failure", clock.now())


def test_a_record_that_passes_later_is_resolved_by_that_run(ledger, finished):
    finished(quarantine_rows=[row("a"), row("b")])
    run = finished(quarantine_rows=[row("b")], passed=["a"])
    entries = {e.record_id: e for e in ledger.quarantine("reviews")}
    assert (entries["a"].resolution, entries["a"].resolved_by) == (f"passed in run {run.run_id}", "run")
    assert (entries["b"].run_id, entries["b"].resolved_at) == (run.run_id, None)


def test_the_newest_run_has_the_last_word_on_a_record(ledger, finished):
    finished(quarantine_rows=[row("a", sample=3)])
    ledger.resolve("reviews", ["a"], resolution="known", who="ada")
    run = finished(quarantine_rows=[row("a", reason="q 0.10 < 0.75", sample=1)])
    [entry] = ledger.quarantine("reviews")
    assert (entry.run_id, entry.reason, entry.resolution) == (run.run_id, "q 0.10 < 0.75", None)
    assert entry.sample == 3  # so that asking again never gives an answer that was had before


def test_what_a_whole_run_did_not_see_any_more_is_gone(ledger, finished):
    finished(quarantine_rows=[row("a"), row("b")])
    run = finished(quarantine_rows=[row("b")], saw_everything=True)
    entries = {e.record_id: e for e in ledger.quarantine("reviews")}
    assert entries["a"].resolution == f"gone from the source in run {run.run_id}"
    assert entries["b"].resolution is None


def test_a_partial_run_says_nothing_of_what_it_did_not_see(ledger, finished):
    finished(quarantine_rows=[row("a")])
    finished(quarantine_rows=[])
    assert open_ids(ledger) == {"a"}


def test_a_human_resolves_open_entries_once(ledger, finished, clock):
    finished(quarantine_rows=[row("a"), row("b")])
    clock.move(5)
    assert ledger.resolve("reviews", ["a", "nobody"], resolution="not ours", who="ada") == 1
    assert ledger.resolve("reviews", ["a"], resolution="again", who="bob") == 0
    entry = ledger.quarantine("reviews", ids=["a"])[0]
    assert (entry.resolution, entry.resolved_by, entry.resolved_at) == ("not ours", "ada", clock.now())
    assert open_ids(ledger) == {"b"}


def test_samples_say_which_answer_comes_next(ledger, finished):
    finished(quarantine_rows=[row("a", sample=2), row("b", sample=5)])
    assert ledger.samples("reviews", "") == {"a": 2, "b": 5}
    assert ledger.samples("reviews", "", ["b", "nobody"]) == {"b": 5}


def test_trials_are_not_among_the_others_unless_named(ledger, finished):
    finished(partition="~trial", quarantine_rows=[row("t")])
    finished(partition="2026-01-01", quarantine_rows=[row("a")])
    assert open_ids(ledger) == {"a"}
    assert open_ids(ledger, partition="~trial") == {"t"}
    assert ledger.resolve("reviews", ["t"], resolution="x", who="ada") == 0


def test_an_interrupted_run_does_not_touch_the_quarantine(ledger, finished):
    finished(quarantine_rows=[row("a")])
    run = ledger.begin_run("reviews", "", "f")
    ledger.finish_run(run, "interrupted", outcome={}, saw_everything=True)
    assert open_ids(ledger) == {"a"}


def test_many_at_once(ledger, finished):
    ids = [f"record-{i}" for i in range(12_000)]
    finished(quarantine_rows=(row(i) for i in ids))
    finished(quarantine_rows=(row(i) for i in ids[:100]), passed=ids[100:])
    assert open_ids(ledger) == set(ids[:100])
    assert len(ledger.quarantine("reviews", ids=ids)) == 12_000


def test_a_long_reason_is_cut_in_the_index(ledger, finished):
    finished(quarantine_rows=[row("a", reason="x" * 1_000_000)])
    assert len(ledger.quarantine("reviews")[0].reason) == 1000


def test_a_text_with_a_nul_is_kept(ledger, finished):
    finished(quarantine_rows=[row("a\0b", reason="x\0y"), row("c")])
    assert {(e.record_id, e.reason) for e in ledger.quarantine("reviews", ids=["a\0b"])} == {
        ("a\\u0000b", "x\\u0000y")
    }
    finished(passed=["a\0b"])
    assert open_ids(ledger) == {"c"}


def test_whether_anything_waits_there(ledger, finished):
    assert not ledger.quarantines("reviews", "")
    finished(quarantine_rows=[row("a"), row("b", resolution="skipped")])
    assert ledger.quarantines("reviews", "")
    assert not ledger.quarantines("reviews", "2026-01-01")
    finished(passed=iter(["a", "b", "never there"]))
    assert not ledger.quarantines("reviews", "")
    assert {e.resolved_by for e in ledger.quarantine("reviews")} == {"run", "on_failure"}
