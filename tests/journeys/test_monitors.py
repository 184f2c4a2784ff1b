"""What is watched over, at the end of real runs: against a server that is paid, and a history that grows."""

from __future__ import annotations

import itertools

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.assembly import Loom
from loom_dagster.settings import RunOptions
from tests.journeys.project import Project
from tests.servers.llm import LLMServer

N = 12
CHEAP, DEAR = {"input": 10.0, "output": 40.0}, {"input": 30.0, "output": 120.0}  # USD per million tokens
LABEL = {"name": "label", "type": "exact_match", "field": "sentiment", "reference_field": "expected"}
_fresh = itertools.count()


@pytest.fixture(scope="module")
def server():
    with LLMServer(answer=lambda body: '{"sentiment": "positive"}') as running:
        yield running


@pytest.fixture
def watched(project: Project, server: LLMServer, monkeypatch: pytest.MonkeyPatch):
    """``run(monitoring, wrong=.., records=.., price=.., new=..)``: a run over records, ``wrong`` of which will be
    rejected; new ones, or those of the last run again. Gives its outcome."""
    project.environ = {"OPENAI_API_KEY": "k"}
    monkeypatch.setenv("OPENAI_API_KEY", "k")

    def run(monitoring, *, wrong=0, records=N, price=CHEAP, new=True, options=None, evaluate=None):
        if new:
            batch = next(_fresh)
            texts = [f"review {batch}-{i}" for i in range(records)]
            expected = ["negative"] * wrong + ["positive"] * (records - wrong)
            path = project.write("data/reviews.parquet", "")
            columns = {
                "id": pa.array([f"r{batch}-{i}" for i in range(records)], pa.string()),
                "text": pa.array(texts, pa.string()),
            }
            pq.write_table(pa.table({**columns, "expected": pa.array(expected, pa.string())}), path)
        project.pipeline(
            transform={
                "prompt": "prompts/classify.txt",
                "model": "openai/any",
                "api_base": server.base_url,
                "price": price,
                "max_tokens": 50,
            },
            evaluate={"evaluators": [LABEL], **(evaluate or {})},
            monitoring=monitoring,
        )
        return Loom.open(project.root).run("classify", options)

    return run


def said(outcome, name):
    [found] = [m for m in outcome.monitors if m.name == name]
    return found


def test_each_monitor_of_one_run_fails_and_passes_when_it_should(watched, server) -> None:
    strict = {
        "cost_budget": 1e-5,
        "on_budget": "warn",
        "latency_sla": {"p95": 0.01},
        "quality_threshold": 0.9,
        "rejection_rate": 0.1,
        "empty_input": True,
    }
    lenient = {
        "cost_budget": 1.0,
        "latency_sla": {"p95": 30},
        "quality_threshold": 0.5,
        "rejection_rate": 0.5,
        "empty_input": True,
    }
    server_is_slow(server, 0.03)
    bad = watched(strict, wrong=3)
    server_is_slow(server, 0.0)
    assert [m.name for m in bad.monitors if not m.passed] == [
        "cost_budget",
        "latency_sla",
        "quality_threshold",
        "rejection_rate",
    ]
    assert said(bad, "cost_budget").value == pytest.approx(bad.spending.total)
    assert said(bad, "latency_sla").value == bad.spending.p95
    assert said(bad, "quality_threshold").reason == "label: mean 0.75 < 0.9"
    assert said(bad, "rejection_rate").reason == "3 of 12 records are in quarantine (25% > 10%)"
    assert (bad.exit_code, bad.released) == (0, True), "warnings change nothing"
    good = watched(lenient, wrong=3)
    assert [m.name for m in good.monitors if m.passed] == [*lenient]
    empty = watched(lenient, records=0)
    assert [m.name for m in empty.monitors if not m.passed] == ["empty_input"]


def server_is_slow(server: LLMServer, seconds: float) -> None:
    import json
    import urllib.request

    body = json.dumps({"latency": seconds}).encode()
    address = f"http://127.0.0.1:{server.port}/control"
    with urllib.request.urlopen(urllib.request.Request(address, data=body, method="POST")):
        pass


def test_a_budget_that_stops_the_run_is_told_by_its_monitor_too(watched) -> None:
    stopped = watched({"cost_budget": 0.0052})
    assert stopped.status == "deferred"
    found = said(stopped, "cost_budget")
    assert not found.passed
    assert "used up: there is no room for the next call" in found.reason


def test_twenty_runs_are_what_the_next_one_is_compared_with(watched) -> None:
    both = {"score_degradation": True, "cost_spike": "2x"}
    for number in range(20):
        run = watched(both, wrong=number % 3)
        assert all(m.passed for m in run.monitors), [m.reason for m in run.monitors]
        if number == 2:
            assert "not enough history, 2 of 3 runs" in said(run, "cost_spike").reason
            assert "not enough history, 2 of 5 runs" in said(run, "score_degradation").reason

    cached = watched(both, new=False)
    assert (cached.spending.calls, said(cached, "cost_spike").reason) == (0, "nothing was paid for")

    longer = watched(both, records=4 * N)
    assert all(m.passed for m in longer.monitors), "more records are not dearer ones"

    spike = watched(both, price=DEAR)
    found = said(spike, "cost_spike")
    assert (found.passed, found.runs) == (False, 20)
    assert found.value == pytest.approx(3 * found.threshold / 2, rel=0.02)
    assert said(spike, "score_degradation").passed

    worse = watched(both, wrong=8)
    found = said(worse, "score_degradation")
    assert (found.passed, found.runs, found.value) == (False, 20, pytest.approx(4 / 12))
    assert found.threshold > found.value
    assert said(worse, "cost_spike").passed, "the dear run has not become the baseline"
    assert worse.released


def test_a_floor_of_scores_holds_from_the_first_run(watched) -> None:
    assert not said(watched({"score_degradation": 0.7}, wrong=6), "score_degradation").passed
    assert said(watched({"score_degradation": 0.7}, wrong=1), "score_degradation").passed


def test_a_blocking_monitor_holds_the_batch_until_somebody_releases_it(project, watched) -> None:
    blocking = {"rejection_rate": {"max_rate": 0.2, "blocking": True}}
    assert watched(blocking).released
    held = watched(blocking, wrong=6, evaluate={"on_batch_failure": "load_passed"})
    assert (held.status, held.released, held.exit_code) == ("held", False, 1)
    assert held.verdict.reason.endswith(
        "rejection_rate: 6 of 12 records are in quarantine (50% > 20%) (blocking)"
    )

    shown = project.loom("run", "classify", "--direct")
    assert shown.code == 1
    assert "Held, and not loaded: rejection_rate: 6 of 12" in " ".join(shown.out.split())
    assert not (project.root / "out/classify.parquet").exists()
    assert project.loom("release", "classify", "--why", "checked by hand").code == 0
    assert len(project.table()) == 6


def test_one_that_is_an_error_fails_the_command_and_holds_nothing(project, watched) -> None:
    project.write("prompts/next.txt", "Again {{ input.id }}")
    watched({"rejection_rate": {"max_rate": 0.2, "severity": "error"}}, wrong=6)
    project.write(
        "pipelines/next.yaml",
        "name: next\nextract: {source: 'pipeline://classify', key: id}\n"
        "transform: {prompt: prompts/next.txt, model: offline/demo}\nload: {destination: out/next.parquet}\n",
    )
    both = project.loom("run", "--all", "--direct", "--json")
    assert both.code == 1
    first, after = both.json["runs"]
    assert (first["exit_code"], first["load"]["rows"]) == (1, 6)
    assert [(m["name"], m["passed"], m["severity"]) for m in first["monitors"]] == [
        ("rejection_rate", False, "error")
    ]
    assert (after["pipeline"], after["exit_code"], after["counts"]["extracted"]) == ("next", 0, 6)
    page = project.loom("run", "classify", "--direct").out
    assert "rejection_rate: 6 of 12 records are in quarantine (50% > 20%)" in page
    assert "A monitor failed: rejection_rate. The batch is loaded all the same" in page


def test_a_trial_shows_them_and_holds_nothing(watched) -> None:
    monitoring = {"rejection_rate": {"max_rate": 0.2, "blocking": True}, "cost_spike": True}
    trial = watched(monitoring, wrong=6, options=RunOptions(limit=12))
    found = said(trial, "rejection_rate")
    assert (found.passed, found.severity, found.blocking) == (False, "warn", False)
    assert (trial.status, trial.exit_code) == ("succeeded", 0)
    for _ in range(3):
        watched(monitoring)
    # ids of real runs run ahead of the clock where they follow each other within a second
    dear = watched(monitoring, price=DEAR, options=RunOptions(limit=12))
    assert not said(dear, "cost_spike").passed, "it is compared with real runs"
    assert said(watched(monitoring), "cost_spike").runs == 3, "and is none of them"


def test_a_retry_does_not_open_what_a_monitor_holds(project, watched) -> None:
    monitoring = {"quality_threshold": {"min_score": 0.7, "blocking": True}, "rejection_rate": 0.1}
    held = watched(monitoring, wrong=6)
    assert held.status == "held"
    loom = Loom.open(project.root)
    again = loom.retry("classify", [loom.quarantine("classify")[0].record_id])
    assert again.status == "held"
    assert said(again, "quality_threshold") == said(held, "quality_threshold")
    assert said(again, "rejection_rate").reason.startswith("6 of 12 records")


def test_validate_shows_which_are_on(project, watched) -> None:
    watched({"latency_sla": 5, "rejection_rate": {"max_rate": 0.2, "blocking": True}, "cost_spike": True})
    shown = project.loom("validate", "classify")
    assert shown.code == 0
    monitors = shown.out[shown.out.index("Monitors:") :].split("\n\n")[0]
    assert "latency_sla: p95 at most 5s; warns" in monitors
    assert "rejection_rate: at most 0.2 of the records in quarantine; holds the batch" in monitors
    assert "cost_spike: at most 2x the cost a record of earlier runs; warns" in monitors
