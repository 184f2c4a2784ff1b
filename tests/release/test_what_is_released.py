"""Readers see the newest released snapshot and nothing else."""

from __future__ import annotations

import shutil

import pytest

from loom_dagster.errors import Misconfigured
from loom_dagster.release.folders import encoded, slot


def test_a_batch_that_passes_is_released(ran, releases):
    snapshot = ran("pppf", threshold=0.75)
    assert releases.released("reviews") == snapshot == releases.latest("reviews")
    assert (snapshot.released_by, snapshot.verdict_passed, snapshot.fingerprint) == ("gate", True, "f")
    assert releases.read_transformed("reviews") == snapshot.transformed
    table = releases.read_table("reviews", columns=["_loom_record_id"])
    assert table.to_pydict() == {"_loom_record_id": ["r0", "r1", "r2"]}


def test_a_held_batch_is_not_read_and_the_one_before_it_still_is(ran, releases):
    good, bad = ran("pp", threshold=0.75), ran("pfff", threshold=0.75)
    assert releases.latest("reviews").id == bad.id
    assert releases.read_transformed("reviews") == good.transformed
    assert [s.id for s in releases.snapshots("reviews")] == [bad.id, good.id]


def test_nothing_released_says_why_and_what_to_do(ran, releases):
    with pytest.raises(
        Misconfigured, match=r"nothing of `reviews` is released yet: it has not been run.*loom run"
    ):
        releases.read_transformed("reviews")
    ran("pfff", threshold=0.75)
    with pytest.raises(Misconfigured) as told:
        releases.read_transformed("reviews")
    assert "held: 1 of 4 records passed (25%) < batch_threshold 75%" in str(told.value)
    assert "loom release reviews --why" in str(told.value)


def test_a_human_lets_a_held_batch_through(ran, releases):
    ran("pfff", threshold=0.75)
    snapshot = releases.release_held("reviews", why=" looked at it ", who="ada")
    assert (snapshot.why, snapshot.released_by, snapshot.verdict_passed) == ("looked at it", "ada", False)
    assert releases.read_transformed("reviews") == snapshot.transformed


def test_a_release_needs_a_reason(ran, releases):
    ran("pfff", threshold=0.75)
    with pytest.raises(Misconfigured, match="needs a reason"):
        releases.release_held("reviews", why="  ", who="ada")
    assert releases.released("reviews") is None


def test_files_that_are_gone_are_told(ran, releases):
    snapshot = ran("pp")
    shutil.rmtree(snapshot.transformed.parent)
    with pytest.raises(Misconfigured, match=r"files of snapshot .* are gone.*--fresh"):
        releases.read_transformed("reviews")


def test_a_project_may_be_moved(ran, releases, ledger, state, tmp_path):
    from loom_dagster.ledger import Ledger
    from loom_dagster.release import Releases

    ran("pp")
    ledger.close()
    moved = state.rename(tmp_path / "elsewhere")
    with Ledger(moved / "ledger.sqlite") as again:
        assert Releases(again, moved).read_table("reviews").num_rows == 2


def test_the_quarantine_knows_what_became_of_each_record(ran, releases, ledger):
    with pytest.raises(Misconfigured, match="has not been run"):
        releases.quarantine_table("reviews")
    ran("pffx")
    ledger.resolve("reviews", ["r1"], resolution="mended", who="ada")
    rows = releases.quarantine_table("reviews").to_pylist()
    assert [(r["record_id"], r["resolution"], r["resolved_by"]) for r in rows] == [
        ("r1", "mended", "ada"), ("r2", None, None), ("x3", None, None),
    ]  # fmt: skip
    assert rows[0]["resolved_at"].tzinfo is not None


def test_a_run_that_goes_on_leaves_the_snapshot_it_had_until_the_new_one_is_kept(
    ran, releases, ledger, make, concluded
):
    first = ran("ppd")
    assert first.released_at is None
    for number in (2, 3):
        handle = ledger.begin_run("reviews", "", "f")
        assert handle.run_id == first.id
        directory = releases.folder("reviews", "", handle.run_id)
        assert directory.name == f"{first.id}.{number}"
        assert releases.latest("reviews").transformed.exists()
        snapshot = concluded(
            handle, make.written(directory, "ppd" if number == 2 else "ppp", run_id=handle.run_id)
        )
    assert (snapshot.id, snapshot.counts["passed"]) == (first.id, 3)
    assert releases.read_transformed("reviews").parent == directory
    assert not first.transformed.exists()


@pytest.mark.parametrize(
    "name", ["../../etc", "a/b", "Ü ber", "..", "A", "", "all", "x" * 300, "a:b", "日本"]
)
def test_any_name_has_a_folder_of_its_own_inside_the_state(name, state):
    folder = slot(state, "p", name)
    assert folder.parent == state / "datasets" / "p"
    assert folder.name.strip(".")
    assert len(folder.name) < 200
    others = {
        slot(state, "p", n).name.lower() for n in ("a", "b", "a_b", "etc", "..", "A", "", "all") if n != name
    }
    assert folder.name.lower() not in others


def test_plain_names_stay_readable():
    assert encoded("customer_sentiment-2") == "customer_sentiment-2"
    assert encoded("Customer Sentiment").startswith("customer_sentiment-")
