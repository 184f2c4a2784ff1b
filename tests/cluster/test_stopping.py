"""A run that is stopped, and questions that many ask: over all workers as in one process."""

from __future__ import annotations

import signal

import pytest

from tests.cluster.job import Job, serve, texts_of
from tests.cluster.kills import tills, workers

pytestmark = [pytest.mark.slow, pytest.mark.service]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_drains_what_is_in_flight_leaves_nobody_behind_and_the_next_run_goes_on(
    cluster, tmp_path, how
) -> None:
    texts = texts_of(1500)
    with serve(texts, latency=0.05) as server:
        job = Job(tmp_path / "p", server, texts, cluster, in_flight=16)
        child = job.start()
        job.until_paid(200, child)
        child.send_signal(how)
        said, _ = child.communicate(timeout=60)
        assert child.returncode == 130, said
        assert "Traceback" not in said
        assert job.stored() == server.stats()["paid"]
        outcome = job.run()
        assert server.stats()["repeated"] == 0
        assert job.broken_promises(outcome) == []
    assert outcome["resumed"] is True
    assert workers(cluster) == tills(cluster) == []


def test_one_question_of_many_records_is_asked_once(cluster, tmp_path) -> None:
    texts = {f"r{i}": f"review number {i % 7}" for i in range(2000)}
    with serve(texts, latency=0.05) as server:
        job = Job(tmp_path / "p", server, texts, cluster, workers=3)
        job.project.write("prompts/classify.txt", "Classify.\n\nReview it: {{ input.text }}")
        outcome = job.run()
        stats = server.stats()
    assert outcome["counts"]["passed"] == 2000
    assert (stats["requests"], stats["paid"]) == (7, 7)
