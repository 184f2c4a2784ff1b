"""A cluster that is not there, or not the right one: one message, exit 2, nothing asked."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import socket
import threading

import pytest

from tests.cluster.job import Job, serve, texts_of
from tests.journeys.project import Project
from tests.servers.databases import _free_port
from tests.servers.ray_cluster import RayCluster

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
    refused(job, "pipelines/classify.yaml:", f"no Ray cluster answers at `{address}`", "ray start --head")


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


def test_more_workers_than_there_are_cpus_is_said_and_the_run_goes_on_with_fewer(cluster, tmp_path):
    with serve(texts_of(600), latency=0.25) as server:  # it is said after ten seconds
        job = Job(tmp_path / "p", server, texts_of(600), cluster, workers=9, in_flight=8)
        run = job.project.loom("run", "classify", "--direct")
    assert run.code == 0, run.out + run.err
    assert "of 9 workers wait for a CPU" in run.out + run.err


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


@pytest.fixture
def joined(cluster, tmp_path):
    """A node more, which finds this in its path before all else."""
    nodes = []

    def join(name, text):
        path = tmp_path / "odd" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
        rest = os.environ.get("PYTHONPATH", "")
        nodes.append(cluster.add(2, PYTHONPATH=f"{tmp_path / 'odd'}:{rest}"))

    yield join
    for node in nodes:
        node.kill()


def test_a_node_with_another_version_is_refused_with_both(cluster, tmp_path, server, joined):
    joined(
        "loom_dagster-9.8.7.dist-info/METADATA", "Metadata-Version: 2.1\nName: loom-dagster\nVersion: 9.8.7\n"
    )
    job = Job(tmp_path / "p", server, texts_of(40), cluster, workers=6)
    refused(job, "loom_dagster 9.8.7", f"loom_dagster {importlib.metadata.version('loom-dagster')}")


def test_nodes_without_loom_dagster_are_refused_with_what_to_install(tmp_path, server):
    odd = tmp_path / "odd" / "loom_dagster.py"
    odd.parent.mkdir()
    odd.write_text("raise ModuleNotFoundError(\"No module named 'loom_dagster'\", name='loom_dagster')")
    without = RayCluster(PYTHONPATH=f"{odd.parent}:{os.environ.get('PYTHONPATH', '')}")
    try:
        refused(Job(tmp_path / "p", server, texts_of(40), without.start(1)), "loom_dagster", "install")
    finally:
        without.close()


def test_workers_use_the_judge_that_the_run_brought_along(cluster, tmp_path, server):
    job = Job(tmp_path / "p", server, texts_of(40), cluster, judged=True)
    judge = f"def judge(output, record):\n    return not __file__.startswith({str(job.project.root)!r})\n"
    job.project.write("judging.py", judge)
    assert job.broken_promises(job.run()) == []


def test_a_judge_that_cannot_be_imported_is_told_before_anything_is_asked(cluster, tmp_path, server):
    job = Job(tmp_path / "p", server, texts_of(40), cluster, judged=True)
    job.project.write("judging.py", "import a_library_that_nobody_has\n")
    refused(job, "a_library_that_nobody_has")


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_what_listens_at_the_address_and_is_no_cluster_is_told(tmp_path, said):
    job = Project(tmp_path / "p")
    job.reviews({"a": "good"})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        job.pipeline(execution={"engine": "ray", "address": address})
        threading.Thread(target=_answer, args=(listener, said), daemon=True).start()
        run = job.loom("run", "classify", "--direct")
    assert run.code == 2
    assert f"no Ray cluster answers at `{address}`: what listens there is no Ray cluster" in run.err


def _answer(listener, said):
    with contextlib.suppress(OSError):
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)
            connection.sendall(said)
