"""`loom test` as people use it: the page, the exit codes, a baseline, Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journeys.project import Project
from tests.servers.llm import LLMServer
from tests.spec.test_suites import SEED

ROOT = Path(__file__).parents[2]
SUITE = """\
pipeline: classify
unit_tests:
  - {name: good, input: {id: 1, text: good}, expected: {sentiment: positive}}
  - {name: bad, input: {id: 2, text: bad}, expected: {sentiment: negative}, tags: [slow]}
"""


@pytest.fixture
def offline(project: Project) -> Project:
    project.reviews({"1": "good"})
    project.pipeline()
    project.write("tests/classify_test.yaml", SUITE)
    return project


@pytest.mark.slow
def test_the_first_loom_s_test_file_runs_as_it_is_written(project: Project) -> None:
    for folder in ("prompts", "context", "data", "pipelines"):
        shutil.copytree(ROOT / folder, project.root / folder, dirs_exist_ok=True)
    path = project.root / "pipelines/customer_sentiment.yaml"
    criteria = path.read_text().replace("The sentiment fits", "No hallucination; the sentiment fits")
    path.write_text(criteria)
    project.write("tests/customer_sentiment_test.yaml", SEED)
    done = project.loom("test", "customer_sentiment", "--record")
    assert done.code in (0, 1), done.err
    for line in (
        "Running tests for: customer_sentiment (v2.1.0)",
        "Unit Tests:",
        "obvious_positive (score: 0.9",
        "Distributional Tests:",
        "mean(evaluation_scores) > 0.75 (actual: 0.8",
        "hallucination_rate < 0.05 (actual: 0",
        "cost of 1,000 records < $2.50 (actual: 0",
        "Integration Tests:",
        "records_loaded > 95 (actual: ",
    ):
        assert line in done.out, done.out
    assert not (project.root / "data/out").exists()
    assert project.loom("history", "--json").json == {"runs": []}
    code = (
        "import sys; from loom_dagster.cli import main;"
        "print(main.run_cli(['test', '--replay', '-k', 'obvious_pos']), *sys.modules)"
    )
    replayed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project.root,
        env=project.env,
        capture_output=True,
        text=True,
        check=True,
    )
    said, _, last = replayed.stdout.rstrip().rpartition("\n")
    assert "obvious_positive (score: 0.9" in said
    heavy = {"aiohttp", "arbiter_ai", "litellm", "pydantic_ai", "pandas", "dagster"}
    assert not {name.partition(".")[0] for name in last.split()} & heavy


def test_a_test_that_fails_is_told_last_with_its_line_and_exits_with_1(offline: Project) -> None:
    done = offline.loom("test")
    assert done.code == 1
    assert "Unit Tests:\n  ✅ good\n  ❌ bad\n\nFailed:\n  ❌ bad (tests/classify_test.yaml:4)\n" in done.out
    assert "       sentiment is 'negative' (actual: 'positive')\n" in done.out
    assert done.out.endswith("1 test failed (1/2 passed)\n")
    chosen = offline.loom("test", "classify", "-k", "GOO", "--json")
    assert chosen.code == 0
    [suite] = chosen.json["suites"]
    assert [(test["name"], test["passed"]) for test in suite["tests"]] == [("good", True)]
    assert suite["answers"]["reused"] == 1
    tagged = offline.loom("test", "--tag", "slow", "--json")
    assert [test["name"] for test in tagged.json["suites"][0]["tests"]] == ["bad"]


def test_what_cannot_be_run_exits_with_2(offline: Project) -> None:
    for args, words in (
        (("clasify",), "did you mean `classify`?"),
        (("-k", "nothing"), "no test is chosen"),
        (("--replay",), "there is no recording to replay"),
        (("--baseline", "nosuch"), "baseline `nosuch` is gone"),
    ):
        done = offline.loom("test", *args)
        assert done.code == 2
        assert "passed" not in done.out
        assert words in done.err
    offline.write("tests/classify_test.yaml", SUITE.replace("pipeline: classify", "pipeline: clasify"))
    done = offline.loom("test")
    assert done.code == 2
    assert "tests/classify_test.yaml:1: there is no pipeline `clasify` (did you mean `classify`?)" in done.err


@pytest.mark.slow
def test_what_was_answered_before_ctrl_c_is_shown_and_not_paid_for_again(project: Project) -> None:
    project.reviews({"1": "good"})
    project.environ = {"OPENAI_API_KEY": "k"}
    cases = "".join(
        f"- {{name: c{n}, input: {{id: {n}, text: t}}, expected: {{sentiment: positive}}}}\n"
        for n in range(12)
    )
    project.write("tests/classify_test.yaml", f"pipeline: classify\nunit_tests:\n{cases}")
    with LLMServer(text='{"sentiment": "positive"}') as server:
        project.pipeline(
            transform={"model": "openai/any", "api_base": server.base_url, "limits": {"in_flight": 2}}
        )
        server.change(hold=True)
        process = subprocess.Popen(
            project.command("test", "--record"),
            env={**project.env, "PYTHONUNBUFFERED": "1"},
            cwd=project.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        while server.stats()["requests"] < 2:
            os.sched_yield()
        server.change(hold=False)
        lines = [process.stdout.readline()]
        while "✅" not in lines[-1]:
            lines.append(process.stdout.readline())
        server.change(hold=True)
        process.send_signal(signal.SIGINT)
        said = "".join(lines) + process.communicate(timeout=60)[0]
        assert process.returncode in (0, 130), said
        server.change(hold=False)
        done = project.loom("test", "--record", "--json")
        assert done.code == 0
        assert server.stats()["repeated"] == 0
        assert len((project.root / "tests/recordings/classify.jsonl").read_text().splitlines()) == 12
