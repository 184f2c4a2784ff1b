"""A batch is reserved at its worst case in every budget until it is settled, whoever has died since."""

from __future__ import annotations

import json

import pytest

from loom_dagster.assembly import Loom
from loom_dagster.batches import Order
from tests.batches.conftest import PRICE

pytestmark = pytest.mark.service


def use(outcome, name="run"):
    return next(budget for budget in outcome.spending.budgets if budget.name == name)


def test_what_is_reserved_outlives_the_process_and_is_given_back_once(project, server):
    project.texts(10)
    project.batch_pipeline(monitoring={"cost_budget": 1.0})
    first = project.ask()
    worst = first.batches[0].reserved
    assert worst > 0 and use(first).ordered == pytest.approx(worst)
    # another process: nothing of it is "unknown", all of it still counts
    child = project.run("classify")
    assert child.code == 0 and child.outcome["waits"] is True
    books = project.books()
    assert (books.spent, books.unconfirmed) == (0, 0) and books.reserved == pytest.approx(worst)
    server.finish()
    done = project.ask()
    assert use(done).ordered == 0 and use(done).unconfirmed == 0
    assert use(done).spent == pytest.approx(server.stats()["cost"], abs=1e-9)
    project.ask()
    assert project.books().spent == pytest.approx(server.stats()["cost"], abs=1e-9)


def test_the_batch_of_one_pipeline_counts_in_the_project_s_month_for_another(project, server):
    project.texts(10)
    project.batch_pipeline()
    worst = project.ask().batches[0].reserved
    project.write("pyproject.toml", f"[tool.loom]\nmonthly_budget = {worst * 1.01}\n")
    project.write("prompts/other.txt", "Other: {{ input.text }}")
    base = {"model": "openai/any", "api_base": server.base_url, "price": PRICE}
    project.pipeline("other", transform={**base, "prompt": "prompts/other.txt"})
    refused = project.ask("other")
    assert refused.stopped_kind == "budget" and "reserved for batches" in (refused.stopped_by or "")
    assert server.stats().get("online") is None
    server.finish()
    project.ask()
    assert project.ask("other").status == "succeeded"


def test_what_does_not_fit_is_deferred_and_what_fits_is_sent(project, server, passed):
    texts = project.texts(10)
    project.batch_pipeline()
    each = project.ask().batches[0].reserved / 10
    project.batch_pipeline(monitoring={"cost_budget": each * 6.5})
    project.write("prompts/classify.txt", "Tell positive from negative: {{ input.id }}: {{ input.text }}")
    first = project.ask()
    assert first.stopped_kind == "budget" and first.exit_code == 1
    sent = first.in_batches
    assert 4 <= sent <= 7 and first.counts.deferred == 10 and first.batches[0].requests == sent
    assert first.batches[0].reserved <= each * 6.5
    for _ in range(3):
        server.finish()
        done = project.ask()
    assert done.status == "succeeded" and passed(done) == list(texts)
    assert project.books().spent == pytest.approx(server.stats()["cost"], abs=1e-9)


def test_batches_are_half_the_price_of_the_same_questions_online(project, server):
    project.texts(10)
    project.batch_pipeline()
    project.ask()
    server.finish()
    in_batch = project.ask().spending.total
    project.batch_pipeline(transform={"mode": "online", "cache": {"enabled": False}})
    online = project.ask().spending.total
    assert in_batch == pytest.approx(online / 2)


def test_what_is_out_is_shown_by_cost_and_the_next_run_is_not_reckoned_twice(project, server):
    project.texts(10)
    project.batch_pipeline(monitoring={"cost_budget": {"run": 1.0, "day": 1.0}})
    worst = project.ask().batches[0].reserved
    spent = json.loads(project.loom("cost", "--json").out)
    assert spent["ordered"] == pytest.approx(worst) and spent["total"]["cost"] == 0
    assert "In batches: $" in project.loom("cost").out
    found = json.loads(project.loom("cost", "classify", "--dry-run", "--json").out)
    assert {budget["name"]: budget["used"] for budget in found["budgets"]} == {"run": 0, "day": 0}
    assert found["estimate"]["cost"] > 0
    assert any(note.startswith("10 of the questions are in batches already") for note in found["notes"])


def test_a_run_that_breaks_while_it_gathers_gives_back_what_it_reserved(project, server, monkeypatch):
    project.texts(20)
    project.batch_pipeline()
    held = []

    def breaks(order):
        held.append(project.books().reserved)
        raise RuntimeError("broken")

    monkeypatch.setattr(Order, "seal", breaks)
    with pytest.raises(RuntimeError, match="broken"):
        Loom.open(project.root).run("classify")
    assert held[0] > 0
    assert project.books().reserved == 0 and server.stats()["batches"] == 0
    assert list((project.root / ".loom" / "batches").glob("*.jsonl")) == []
