"""Old snapshots go, but for the newest ones and those that somebody may still ask for."""

from __future__ import annotations

from loom_dagster.release import prune


def test_the_newest_and_those_with_waiting_records_stay(ran, ledger, releases, state):
    waits = ran("pf")
    old = [ran("pp", pipeline="reviews") for _ in range(4)]
    newest = [ran("p") for _ in range(2)]
    assert prune(ledger, state, "reviews", keep=2) == 4
    assert [snapshot.transformed.exists() for snapshot in (waits, *old, *newest)] == [
        True, False, False, False, False, True, True,
    ]  # fmt: skip
    assert len(releases.snapshots("reviews")) == 7  # the ledger keeps what they said
    ledger.resolve("reviews", ["r1"], resolution="fine", who="me")
    assert prune(ledger, state, "reviews", keep=2) == 1
    assert not waits.transformed.exists()


def test_another_pipeline_is_left_alone_and_nothing_to_do_is_fine(ran, ledger, state):
    other = ran("pp", pipeline="other")
    assert prune(ledger, state, "reviews", keep=0) == 0
    assert other.transformed.exists()
