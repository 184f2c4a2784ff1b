"""A cluster that is not there, or not the right one: one message, exit 2, nothing asked."""

from __future__ import annotations

import pytest

from tests.cluster.job import Job, serve, texts_of
from tests.servers.databases import _free_port

pytestmark = [pytest.mark.slow, pytest.mark.service]


@pytest.fixture
def server():
    with serve(texts_of(40)) as running:
        yield running


@pytest.fixture
def job(cluster, tmp_path, server):
    return Job(tmp_path / "p", server, texts_of(40), cluster)


def refused(job, *words):
    run = job.project.loom("run", "classify", "--direct")
    assert run.code == 2, run.out + run.err
    said = run.out + run.err
    for word in words:
        assert word in said, said
    assert job.server.stats()["requests"] == 0
    assert not (job.project.root / "out").exists()
    return said


def test_an_address_that_does_not_answer_is_named(job):
    address = f"127.0.0.1:{_free_port()}"
    job.to(address)
    refused(job, f"no Ray cluster answers at `{address}`", "ray start --head")


def test_an_address_outside_that_does_not_answer_is_named(job, postgres):
    address = f"ray://127.0.0.1:{_free_port()}"
    job.to(address)
    job.project.environ |= {"LOOM_LEDGER": postgres.database(), "LOOM_ANSWERS": postgres.database()}
    refused(job, f"no Ray cluster answers at `{address}`")


def test_the_cluster_that_the_environment_names_does_not_answer(job):
    address = f"127.0.0.1:{_free_port()}"
    job.to("auto")  # without RAY_ADDRESS it is any cluster of this machine
    job.project.environ["RAY_ADDRESS"] = address
    refused(job, address)


def test_a_cluster_that_wants_another_token_is_named(job, cluster):
    job.project.environ["RAY_AUTH_TOKEN"] = "0" * 64
    refused(job, cluster.address, "oken")


def test_auto_finds_the_cluster_that_the_environment_names(job, cluster):
    job.to("auto")
    job.project.environ["RAY_ADDRESS"] = cluster.address
    assert job.broken_promises(job.run()) == []


def test_from_outside_of_the_cluster_ledger_and_answers_have_to_be_where_all_reach_them(job, cluster):
    job.to(cluster.client_address)
    refused(job, "ray://", "Postgres")


def test_more_workers_than_there_are_cpus_is_said_and_the_run_goes_on_with_fewer(cluster, tmp_path, server):
    job = Job(tmp_path / "p", server, texts_of(40), cluster, workers=9)
    run = job.project.loom("run", "classify", "--direct")
    assert run.code == 0, run.out + run.err
    assert "9" in run.out + run.err
    assert "CPU" in run.out + run.err


def test_a_key_that_nobody_has_is_asked_for_before_anything_starts(job):
    del job.project.environ["OPENAI_API_KEY"]
    job.project.pipeline(
        transform={"prompt": "prompts/classify.txt", "model": "openai/gpt-4o-mini"},
        execution={"engine": "ray", "address": job.cluster.address},
    )
    refused(job, "OPENAI_API_KEY")


def test_the_key_is_nowhere_in_what_ray_keeps(job, cluster):
    assert job.broken_promises(job.run()) == []  # its nodes do not have the key; the provider asks for it
    for path in cluster.folder.rglob("*"):
        if path.is_file():
            assert b"sk-of-the-test" not in path.read_bytes(), path


def test_a_judge_that_cannot_be_imported_is_told_before_anything_is_asked(cluster, tmp_path, server):
    job = Job(tmp_path / "p", server, texts_of(40), cluster, judged=True)
    job.project.write("judging.py", "import a_library_that_nobody_has\n")
    refused(job, "a_library_that_nobody_has")
