"""What comes of a run does not depend on where its records are settled."""

from __future__ import annotations

import pytest

from tests.cluster.job import Job, same_tables, serve, sold, texts_of

pytestmark = [pytest.mark.slow, pytest.mark.service]


def test_the_tables_are_those_of_a_local_run_row_for_row(cluster, tmp_path) -> None:
    texts = texts_of(3000)
    faults = {"wrong_schema": 0.02, "empty": 0.02, "unicode": 0.02, "500": 0.02, "refusal": 0.01}
    with serve(texts, faults=faults, mode="sticky", seed=3) as server:
        local = Job(
            tmp_path / "local", server, texts, judged=True, in_flight=64, transform={"max_attempts": 2}
        )
        here = local.run()
        by_local = server.stats()
        server.change(reset=True)
        job = Job(
            tmp_path / "ray", server, texts, cluster, judged=True, in_flight=64, transform={"max_attempts": 2}
        )
        there = job.run()
        by_ray = server.stats()
    assert same_tables(here, there) == []
    assert here["data_version"] == there["data_version"]
    assert here["counts"] == there["counts"]
    assert here["counts"]["quarantined"] > 100
    assert local.project.table() == job.project.table()
    assert by_ray["requests"] == by_local["requests"]
    assert there["spending"]["cost"] == pytest.approx(here["spending"]["cost"], rel=1e-9)
    assert sold(by_ray) == pytest.approx(sold(by_local), rel=1e-12)
