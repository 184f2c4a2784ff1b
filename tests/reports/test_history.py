"""`loom history`: what became of the runs of a pipeline, and which way its numbers go."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.reports.conftest import score


@pytest.fixture
def runs(project):
    project.pipeline("reviews")
    return [
        project.ran("reviews", rate=0.5, cost=1.0, scores=[score(mean=0.6)]),
        project.ran("reviews", rate=0.7, cost=2.0, scores=[score(mean=0.7)]),
        project.ran("reviews", status="held", rate=0.9, cost=0.0, scores=[score(mean=0.9)]),
    ]


def test_runs_are_listed_newest_first_with_their_numbers(project, runs):
    said = project.loom("history", "reviews")
    lines = said.out.splitlines()
    assert said.code == 0
    assert [line.split()[1] for line in lines[1:4]] == runs[::-1]
    assert "held" in lines[1] and "90.0%" in lines[1] and "0.90" in lines[1]
    assert "released" in lines[3] and "50.0%" in lines[3] and "$1.00" in lines[3] and "gate" in lines[3]
    assert "PIPELINE" not in lines[0] and "PARTITION" not in lines[0]


def test_sparklines_go_from_the_oldest_to_the_newest(project, runs):
    out = project.loom("history", "reviews").out
    [rate] = [line for line in out.splitlines() if line.startswith("pass rate")]
    assert "▁▄█" in rate and rate.endswith("50.0% → 90.0%")
    assert "quality    ▁▃█  0.60 → 0.90" in out


def test_they_can_be_narrowed(project, runs):
    assert [
        r["run_id"] for r in project.loom("history", "reviews", "--limit", "1", "--json").json["runs"]
    ] == runs[2:]
    ago = project.clock.now() - timedelta(minutes=61)
    since = project.loom("history", "--since", ago.isoformat(), "--json")
    assert [r["run_id"] for r in since.json["runs"]] == [runs[2], runs[1]]
    assert project.loom("history", "--since", "1h", "--json").json["runs"] == []
    assert len(project.loom("history", "--since", "7d", "--json").json["runs"]) == 3


def test_trials_are_shown_when_they_are_asked_for(project, runs):
    trial = project.ran("reviews", "~trial", status="held")
    assert trial not in project.loom("history").out
    shown = project.loom("history", "--trials")
    assert trial in shown.out and "trial" in shown.out
    [found, *_] = project.loom("history", "--trials", "--json").json["runs"]
    assert found["trial"] is True and found["state"] == "held"


def test_json_has_metrics_and_scores_whole(project, runs):
    found = project.loom("history", "reviews", "--json").json["runs"][0]
    assert found["metrics"]["cost"] == 0.0 and found["scores"][0]["mean"] == 0.9
    assert (found["state"], found["pass_rate"], found["released_by"]) == ("held", 0.9, None)


def test_a_run_that_broke_off_is_open(project):
    project.pipeline("reviews")
    with project.ledger() as ledger:
        ledger.leave_run(ledger.begin_run("reviews", "", "f"))
    assert project.loom("history", "--json").json["runs"][0]["state"] == "open"


@pytest.mark.parametrize(
    "words", [["reviewz"], ["--since", "yesterday"], ["reviews", "--partition", "2026-01-01"]]
)
def test_what_is_not_there_is_said(project, words):
    project.pipeline("reviews")
    said = project.loom("history", *words)
    assert said.code == 2
    assert {"reviewz": "`reviews`", "--since": "7d", "reviews": "no partitions"}[words[0]] in said.err


def test_runs_of_a_pipeline_whose_file_is_gone_are_still_told(project):
    run = project.ran("gone")
    assert run in project.loom("history", "gone").out


def test_no_runs_is_no_error(project):
    project.pipeline("reviews")
    said = project.loom("history", "reviews")
    assert (said.code, "No runs of reviews" in said.out) == (0, True)
