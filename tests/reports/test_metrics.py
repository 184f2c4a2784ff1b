"""`loom metrics`, and what Prometheus reads of it."""

from __future__ import annotations

import re
import stat
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.reports.conftest import score


@pytest.fixture
def runs(project):
    project.pipeline("reviews")
    metrics = {
        "paid_records": 10,
        "paid_cost": 0.5,
        "latency_p50": 0.5,
        "latency_p95": 1.5,
        "input_tokens": 1000,
    }
    return [
        project.ran("reviews", scores=[score(mean=0.6), score("tone", 0.9)], **metrics),
        project.ran(
            "reviews", scores=[score(mean=0.8), score("tone", 0.7)], **metrics | {"latency_p95": 2.5}
        ),
    ]


def families(text):
    """Parsed by Prometheus' own library, and by the letter of the format where that forgives."""
    found = {family.name: family for family in text_string_to_metric_families(text)}
    named = re.findall(r"^# (?:HELP|TYPE) (\S+)", text, re.MULTILINE)
    assert all(number == 2 for number in Counter(named).values()), "HELP and TYPE once each"
    sets = Counter((s.name, *sorted(s.labels.items())) for family in found.values() for s in family.samples)
    assert sets and max(sets.values()) == 1, "one sample a label set"
    assert text.endswith("\n") and "\n\n" not in text
    for family in found.values():
        assert family.type in ("gauge", "counter") and family.documentation
    return found


def values(family, *labels):
    return {tuple(sample.labels[name] for name in labels): sample.value for sample in family.samples}


def test_scores_latencies_and_costs_are_shown_over_runs(project, runs):
    out = project.loom("metrics", "reviews").out
    rows = {line.split("  ")[0]: line for line in out.splitlines()}
    assert "0.80" in rows["quality, mean"] and "0.70" in rows["quality, mean"], "the last one, and the mean"
    assert "80.0%" in rows["quality, reached 0.70"], "what could not be scored did not reach it"
    assert "2.5s" in rows["latency p95"] and "2.0s" in rows["latency p95"]
    assert "$0.0500" in rows["cost per record"]


def test_json_has_every_value(project, runs):
    [found] = project.loom("metrics", "--json").json["pipelines"]
    assert found["runs"] == runs
    quality, tone = found["evaluators"]
    assert quality["score"] == {"last": 0.8, "mean": pytest.approx(0.7), "values": [0.6, 0.8]}
    assert tone["name"] == "tone"
    assert found["metrics"]["latency_p95"]["values"] == [1.5, 2.5]
    assert found["metrics"]["cost_per_record"] == {
        "unit": "usd",
        "last": 0.05,
        "mean": 0.05,
        "values": [0.05, 0.05],
    }


def test_prometheus_reads_gauges_of_the_last_run_and_totals_of_all(project, runs):
    project.ran("reviews", "~trial", cost=99.0)
    found = families(project.loom("metrics", "--format", "prometheus").out)
    states = values(found["loom_last_run_state"], "state")
    assert states[("released",)] == 1 and sum(states.values()) == 1
    assert values(found["loom_last_run_score_mean"], "evaluator") == {("quality",): 0.8, ("tone",): 0.7}
    assert values(found["loom_last_run_latency_seconds"], "percentile")[("p95",)] == 2.5
    assert values(found["loom_runs"], "pipeline", "status") == {("reviews", "succeeded"): 2}
    assert values(found["loom_records"], "result")[("passed",)] == 16
    assert values(found["loom_tokens"], "direction") == {("input",): 2000}
    assert {s.labels["project"] for family in found.values() for s in family.samples} == {"shop"}


def test_names_are_escaped(project):
    project.ran('a "quoted"\\back\nname', scores=[score('x"y\\z\n')])
    found = families(project.loom("metrics", "--format", "prometheus").out)
    [sample] = found["loom_last_run_score_mean"].samples
    assert (sample.labels["pipeline"], sample.labels["evaluator"]) == ('a "quoted"\\back\nname', 'x"y\\z\n')


def test_a_file_is_written_whole_and_others_may_read_it(project, runs, tmp_path):
    target = tmp_path / "collector" / "loom.prom"
    target.parent.mkdir()
    target.write_text("old", encoding="utf-8")
    said = project.loom("metrics", "--format", "prometheus", "--output", str(target))
    assert (said.code, said.out) == (0, "")
    families(target.read_text("utf-8"))
    assert [path.name for path in target.parent.iterdir()] == ["loom.prom"]
    assert stat.S_IMODE(target.stat().st_mode) & 0o044


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["reviewz"], "`reviews`"),
        (["reviewz", "--format", "prometheus"], "`reviews`"),
        (["--output", "x"], "--format prometheus"),
        (["--format", "prometheus", "--json"], "leave --json out"),
        (["--format", "prometheus", "--output", "/dev/null/x.prom"], "/dev/null/x.prom"),
        (["--format", "prom"], "prometheus"),
    ],
)
def test_what_cannot_be_is_said(project, runs, words, said):
    found = project.loom("metrics", *words)
    assert found.code == 2
    assert said in found.err + found.out


def test_nothing_was_run_yet(project):
    project.pipeline("reviews")
    assert "No runs" in project.loom("metrics").out
    assert project.loom("metrics", "--format", "prometheus").out == ""


def test_records_that_were_tried_again_are_no_run_to_compare(project, runs):
    project.ran("reviews", scores=[score(mean=0.0)], tried_again=1.0)
    [found] = project.loom("metrics", "reviews", "--json").json["pipelines"]
    assert found["runs"] == runs
    assert len(project.loom("history", "reviews", "--json").json["runs"]) == 3
