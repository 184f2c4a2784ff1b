"""A budget is never spent beyond: against a server that counts what it sold."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from tests.journeys.project import Project
from tests.servers.llm import LLMServer

N, IN_FLIGHT = 1200, 256
TEXTS = {f"r{i}": f"review number {i}" for i in range(N)}
PRICE = {"input": 10.0, "output": 40.0}  # USD per million tokens


def sold(server: LLMServer) -> float:
    stats = server.stats()
    return (stats["input_tokens"] * PRICE["input"] + stats["output_tokens"] * PRICE["output"]) / 1e6


@pytest.fixture
def server():
    labels = dict.fromkeys(TEXTS.values(), "positive")
    with LLMServer(
        process=True, latency=0.02, labels=labels, find=r"Review \w+: (.*)", field="sentiment"
    ) as running:
        yield running


@pytest.fixture
def budgeted(project: Project, server: LLMServer):
    project.reviews(TEXTS)
    project.environ = {"OPENAI_API_KEY": "k"}

    def write(monitoring, **transform):
        project.pipeline(
            transform={
                "prompt": "prompts/classify.txt",
                "model": "openai/any",
                "api_base": server.base_url,
                "limits": {"in_flight": IN_FLIGHT},
                "price": PRICE,
                "max_tokens": 50,
                **transform,
            },
            monitoring=monitoring,
        )
        return project

    return write


@pytest.mark.slow
@pytest.mark.service
def test_the_rest_is_deferred_and_the_next_run_goes_on_where_this_one_ended(server, budgeted) -> None:
    budget = 0.6  # USD, more than half of what the job costs
    project = budgeted({"cost_budget": budget})
    first = project.run()
    assert first.code == 1
    assert 0.9 * budget < sold(server) <= budget
    told = first.outcome
    counts = told["counts"]
    assert counts["passed"] + counts["deferred"] == N
    assert counts["deferred"] > 0
    assert told["spending"]["cost"]["transform"] == pytest.approx(sold(server))
    assert told["stopped_kind"] == "budget"
    assert "the budget of $0.60 a run is used up" in told["stopped_by"]
    (use,) = told["spending"]["budgets"]
    assert (use["name"], use["unconfirmed"]) == ("run", 0.0)
    assert use["spent"] == pytest.approx(sold(server))

    second = project.run()
    assert (second.code, second.outcome["counts"]["passed"]) == (0, N)
    assert second.outcome["resumed"]
    assert second.outcome["spending"]["reused"] == counts["passed"]
    assert server.stats()["repeated"] == 0
    assert budget < sold(server) <= 2 * budget


@pytest.mark.slow
@pytest.mark.service
def test_killed_at_random_moments_a_run_keeps_its_budget(server, budgeted) -> None:
    budget = 0.6
    project = budgeted({"cost_budget": budget}, limits={"in_flight": 8})  # each kill costs 8 worst cases
    server.change(latency=0.05)
    for paid in (150, 300):
        child = subprocess.Popen(
            project.command("run", "classify", "--direct"),
            env=project.env,
            cwd=project.root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while server.stats()["paid"] < paid and child.poll() is None:
            time.sleep(0.005)
        assert child.poll() is None, "it ended before it was killed"
        child.send_signal(signal.SIGKILL)
        child.wait()
    last = project.run()
    (use,) = last.outcome["spending"]["budgets"]
    assert sold(server) <= budget
    assert use["spent"] <= sold(server) + 1e-9 <= use["spent"] + use["unconfirmed"] + 1e-9 <= budget + 1e-9
    assert last.code == (1 if last.outcome["counts"]["deferred"] else 0)


def test_a_price_that_nobody_knows_is_refused_before_the_first_call(server, budgeted) -> None:
    project = budgeted({"cost_budget": 1.0}, price=None)
    refused = project.loom("run", "classify", "--direct")
    assert refused.code == 2
    assert "pipelines/classify.yaml:" in refused.err
    assert "the price of `openai/any` is not known, and there is a budget to keep" in refused.err
    assert '[tool.loom.prices] "openai/any" = {input = 0.15, output = 0.60}' in " ".join(refused.err.split())
    assert server.stats()["requests"] == 0
    project.write(
        "pyproject.toml",
        '[tool.loom]\nmodel = "x"\n[tool.loom.prices]\n"openai/any" = {input = 0.15, output = 0.60}\n',
    )
    assert project.run().code == 0


def test_validate_shows_the_budgets_and_what_is_wrong_with_them(server, budgeted) -> None:
    project = budgeted({"cost_budget": {"run": 1.0, "day": 5}}, price=None)
    told = project.loom("validate", "classify")
    assert told.code == 2
    budgets = told.out[told.out.index("Budgets:") :].split("\n\n")[0]
    assert "$1.00 a run" in budgets
    assert "$5.00 a day (UTC)" in budgets
    assert "the price of `openai/any` is not known" in budgets


def test_the_months_budget_is_the_projects_own(server, budgeted) -> None:
    project = budgeted({})
    project.write("pyproject.toml", '[tool.loom]\nmodel = "x"\nmonthly_budget = 0.1\n')
    first = project.run()
    assert first.code == 1
    assert "the project's budget of $0.10 a month is used up" in first.outcome["stopped_by"]
    assert sold(server) <= 0.1
    again = project.run()
    assert (again.code, again.outcome["spending"]["calls"]) == (1, 0), "and another run has none of it"


def test_on_budget_warn_only_says_so(server, budgeted) -> None:
    run = budgeted({"cost_budget": 0.01, "on_budget": "warn"}).run()
    assert run.code == 0
    assert "more was spent than the $0.0100 of `cost_budget` (on_budget: warn)" in run.outcome["notes"]


@pytest.mark.parametrize(
    ("monitoring", "said"),
    [
        ({"cost_budget": -1}, "must be more than 0"),
        ({"cost_budget": 0}, "must be more than 0"),
        ({"cost_budget": {"run": 1, "week": 2}}, "week"),
        ({"cost_budget": {"day": 1}, "on_budget": "warn"}, "remove `cost_budget.day`"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused_with_its_line(server, budgeted, monitoring, said) -> None:
    refused = budgeted(monitoring).loom("run", "classify", "--direct")
    assert refused.code == 2
    assert "pipelines/classify.yaml:" in refused.err
    assert said in refused.err
