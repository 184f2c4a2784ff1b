"""Batches whose run does not go on, as the prompt was changed or the pipeline deleted: they are brought home, and paid
for once; what was not sent is not sent any more."""

from __future__ import annotations

import json
import shutil
from contextlib import closing

import pytest

from loom_dagster.assembly import Loom
from tests.batches.conftest import PRICE

pytestmark = pytest.mark.service


def states(project):
    return [row.state for row in Loom.open(project.root).ledger.batches.rows()]


@pytest.mark.parametrize("model", ["openai/any", "anthropic/claude-sonnet-4-5"])
def test_a_batch_that_could_not_be_sent_is_not_sent_for_a_prompt_that_is_gone(project, server, model):
    project.texts(5)
    project.batch_pipeline(model=model)
    server.faults = {"create": [401]}
    assert project.ask().exit_code == 2
    project.write("prompts/classify.txt", "Another prompt: {{ input.text }}")
    assert project.ask().waits
    assert server.stats()["batches"] == 1 and "Another" in str(server.lines(0))
    assert sorted(states(project)) == ["dropped", "submitted"]
    server.finish()
    assert project.ask().status == "succeeded"
    books = project.books()
    assert (books.unconfirmed, books.reserved) == (0, 0)
    assert books.spent == pytest.approx(server.stats()["cost"], abs=1e-9)


def test_one_that_reached_the_provider_all_the_same_is_paid_and_brought_home(project, server):
    project.texts(5)
    project.batch_pipeline()
    server.faults = {"create": ["lost"], "list": [401]}
    assert project.ask().exit_code == 2
    project.write("prompts/classify.txt", "Another prompt: {{ input.text }}")
    assert project.ask().waits and server.stats()["batches"] == 2
    server.finish()
    project.ask()
    assert states(project) == ["collected", "collected"]
    assert project.books().spent == pytest.approx(server.stats()["cost"], abs=1e-9)


def test_a_pipeline_that_was_deleted_leaves_no_reservation_and_no_questions(project, server):
    project.texts(5)
    project.batch_pipeline()
    project.ask()
    server.finish()
    (project.root / "pipelines" / "classify.yaml").unlink()
    base = {"model": "openai/any", "api_base": server.base_url, "price": PRICE}
    project.pipeline(
        "other", transform={**base, "prompt": "prompts/classify.txt", "cache": {"enabled": False}}
    )
    project.ask("other")
    assert states(project) == ["collected"] and project.books().reserved == 0
    assert project.books().spent == pytest.approx(server.stats()["cost"], abs=1e-9)
    assert list((project.root / ".loom" / "batches").glob("*.jsonl")) == []
    with closing(Loom.open(project.root).answers()) as store:
        assert store.count() == 10


def test_a_provider_that_refuses_the_key_stops_no_other_pipeline(project, server):
    project.texts(5)
    project.batch_pipeline()
    project.ask()
    (project.root / "pipelines" / "classify.yaml").unlink()
    server.faults = {"look": [401]}
    base = {"model": "openai/any", "api_base": server.base_url, "price": PRICE}
    project.pipeline("other", transform={**base, "prompt": "prompts/classify.txt"})
    assert project.ask("other").status == "succeeded"
    assert states(project) == ["submitted"] and project.books().reserved > 0


def test_a_batch_whose_folder_is_gone_is_said_and_can_be_written_off(project, server, passed):
    texts = project.texts(3)
    project.batch_pipeline()
    [batch] = project.ask().batches
    run = project.loom("batches", "forget", batch.batch)
    assert run.code == 2 and "can be read from here" in " ".join((run.out + run.err).split())
    shutil.rmtree(project.root / ".loom" / "batches")
    heard = []
    waiting = Loom.open(project.root).run("classify", listen=heard.append)
    assert waiting.waits
    assert any(f"loom batches forget {batch.batch}" in getattr(event, "text", "") for event in heard)
    gone = json.loads(project.loom("batches", "forget", batch.batch[:6], "--json").out)["batch"]
    assert gone["state"] == "lost" and gone["note"].startswith("written off by")
    books = project.books()
    assert books.reserved == 0 and books.unconfirmed == pytest.approx(batch.reserved)
    assert project.ask().waits and server.stats()["create"] == 2
    server.finish()
    assert passed(project.ask()) == list(texts)
