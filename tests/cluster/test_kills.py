"""Whatever is killed with -9, whenever: every record once, nothing loaded twice, nothing that was received paid again."""

from __future__ import annotations

import random

import pytest

from tests.cluster.job import Job, same_tables, serve, sold, texts_of
from tests.cluster.kills import KILLS, killed_at, workers

pytestmark = [pytest.mark.slow, pytest.mark.service]

N = 2000


@pytest.mark.parametrize("what", [*KILLS, "driver"])
def test_what_is_killed_costs_what_was_in_flight_and_no_record(cluster, tmp_path, what) -> None:
    draw = random.Random(f"20261122 {what}")
    texts = texts_of(N)
    with serve(texts, latency=0.05) as server:
        job = Job(tmp_path / "p", server, texts, cluster, workers=3, in_flight=32, judged=True)
        outcome = job.ended(killed_at(job, what, draw.uniform(0.1, 0.8), draw))
        paid = server.stats()["paid"]
        assert job.broken_promises(outcome, kills=1) == []
        assert outcome["counts"]["passed"] == N
        assert outcome["resumed"] is (what == "driver")
        assert job.stored() == N
        again = job.run()  # everything is there already: nobody is asked
        assert server.stats()["paid"] == paid
    assert same_tables(outcome, again) == []


@pytest.mark.parametrize("what", ["worker", "node", "till", "driver"])
def test_a_budget_of_half_the_job_is_kept_whoever_dies(cluster, tmp_path, what) -> None:
    draw = random.Random(f"half {what}")
    texts = texts_of(1000)
    budget = 0.44  # USD, half of it
    with serve(texts, latency=0.05) as server:
        job = Job(
            tmp_path / "p",
            server,
            texts,
            cluster,
            workers=3,
            in_flight=32,
            monitoring={"cost_budget": budget},
        )
        outcome = job.ended(killed_at(job, what, 0.2, draw), code=1)
        paid = sold(server.stats())
    assert (
        0.2 * budget < paid <= budget
    )  # what was in flight counts at its worst price, twelve times the real one
    counts = outcome["counts"]
    assert counts["deferred"] > 0
    assert counts["extracted"] == counts["passed"] + counts["quarantined"] + counts["deferred"] == 1000


def test_a_run_goes_on_with_the_other_engine(cluster, tmp_path) -> None:
    texts = texts_of(N)
    with serve(texts, latency=0.05) as server:
        job = Job(tmp_path / "p", server, texts, cluster, in_flight=32)
        for engine, share in (("ray", 0.3), ("local", 0.6)):
            job.on(engine)
            child = job.start()
            job.until_paid(share * N, child)
            child.kill()
            child.communicate()
        job.on("ray")
        outcome = job.run()
        assert outcome["resumed"] is True
        assert job.broken_promises(outcome, kills=2) == []


def test_a_provider_takes_so_many_at_once_from_all_workers_together(cluster, tmp_path) -> None:
    texts, cap = texts_of(N), 24
    with serve(texts, latency=0.05, cap=cap) as server:
        job = Job(tmp_path / "p", server, texts, cluster, workers=3, in_flight=256)
        job.project.write(
            "pyproject.toml",
            f'[tool.loom]\nmodel = "offline/demo"\n[tool.loom.limits.openai]\nin_flight = {cap}\n',
        )
        child = job.start()
        job.until_paid(N / 5, child)
        assert len(workers(cluster)) == 3
        outcome = job.ended(child)
        stats = server.stats()
        assert job.broken_promises(outcome) == []
    assert stats["refused"] == 0
    assert cap / 2 < stats["max_in_flight"] <= cap
