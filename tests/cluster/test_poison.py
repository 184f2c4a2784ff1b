"""One record that takes its process with it is one quarantined record."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from tests.cluster.job import Job, serve, texts_of

pytestmark = [pytest.mark.slow, pytest.mark.service]


@pytest.mark.parametrize("deed", ["exits", "segfaults"])
def test_a_record_that_ends_its_worker_is_quarantined_with_that_reason_and_all_others_pass(
    cluster, tmp_path, deed
) -> None:
    texts = texts_of(600)
    texts["r77"] = f"review that {deed}"
    with serve(texts) as server:
        job = Job(tmp_path / "p", server, texts, cluster, judged=True)
        outcome = job.run()
        assert job.broken_promises(outcome, kills=5) == []
    [bad] = pq.read_table(outcome["quarantine_path"]).to_pylist()
    assert (bad["record_id"], bad["kind"]) == ("r77", "worker_died")
    assert "its worker died" in bad["reason"]
    assert (
        "unexpectedly" in bad["reason"]
    )  # all that Ray knows: no exit code comes from a process that is gone
    assert outcome["counts"]["passed"] == 599


def test_several_of_them_are_found_one_by_one(cluster, tmp_path) -> None:
    texts = texts_of(600)
    deadly = ["r5", "r6", "r300", "r599"]
    texts |= dict.fromkeys(deadly, "review that exits")
    with serve(texts) as server:
        job = Job(tmp_path / "p", server, texts, cluster, judged=True)
        outcome = job.run(timeout=600)
    assert pq.read_table(outcome["quarantine_path"])["record_id"].to_pylist() == deadly
    assert outcome["counts"]["passed"] == 596
