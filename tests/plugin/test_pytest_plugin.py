"""Prompt tests as pytest items, in a pytest of their own: what people type, and what they read."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow.parquet  # noqa: F401 - what an inner pytest imports it forgets again, and these cannot be imported twice
import pytest
import sqlalchemy.dialects.sqlite  # noqa: F401

import loom_dagster.assembly.end_to_end
import loom_dagster.assembly.handed_over  # noqa: F401
from tests.journeys.project import Project

pytest_plugins = ("pytester",)

CASES = "".join(
    f"  - {{name: case_{n}, input: {{id: {n}, text: text {n}}}, assertions: [passed], tags: [{'even' if n % 2 == 0 else 'odd'}]}}\n"
    for n in range(6)
)
SUITE = f"""\
pipeline: classify
unit_tests:
{CASES}  - name: wrong
    input: {{id: 9, text: text}}
    expected: {{sentiment: negative}}
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    project = Project(pytester.path)
    project.reviews({"1": "good"})
    project.pipeline()
    project.write("tests/classify_test.yaml", SUITE)
    return project


@dataclass
class Done:
    returncode: int
    stdout: str


@pytest.fixture
def run(pytester: pytest.Pytester) -> Callable[..., Done]:
    """A pytest with our plugin and hardly another one."""
    others = ("asyncio", "hypothesispytest", "playwright", "anyio", "base_url", "logfire", "typeguard")
    strict = (
        "-W",
        "error",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    )  # of the outer pytest's imports
    options = [word for name in others for word in ("-p", f"no:{name}")]

    def run(*args: str) -> Done:
        way = pytester.runpytest_subprocess if "-n" in args else pytester.runpytest_inprocess
        done = way("-p", "loom_dagster.pytest_plugin", *options, *strict, "-rA", *args)
        assert "Traceback" not in done.stdout.str() + done.stderr.str()
        return Done(int(done.ret), done.stdout.str())

    return run


Run = Callable[..., Done]


def outcomes(done: Done) -> dict[str, str]:
    lines = (line.split(" - ")[0].split() for line in done.stdout.splitlines())
    return {
        words[1].rpartition("::")[2]: words[0]
        for words in lines
        if len(words) == 2 and words[0] in ("PASSED", "FAILED") and "::" in words[1]
    }


def test_each_case_is_an_item_and_a_failure_is_in_plain_words(project: Project, run: Run) -> None:
    done = run()
    assert done.returncode == 1
    assert outcomes(done) == {**{f"case_{n}": "PASSED" for n in range(6)}, "wrong": "FAILED"}
    assert "sentiment is 'negative' (actual: 'positive')\n(tests/classify_test.yaml:" in done.stdout
    assert "pytest_plugin.py" not in done.stdout
    assert "7 calls paid, 0 reused, $0.00, simulated" in done.stdout


def test_what_chooses_tests_chooses_cases(project: Project, run: Run) -> None:
    assert set(outcomes(run("-k", "case_1 or wrong"))) == {"case_1", "wrong"}
    assert set(outcomes(run("-m", "even", "--strict-markers"))) == {"case_0", "case_2", "case_4"}
    assert set(outcomes(run("--lf"))) == {"wrong"}
    stopped = run("-x", "-k", "wrong or case_5", "--ff")
    assert outcomes(stopped) == {"wrong": "FAILED"}
    one = run("tests/classify_test.yaml::case_3", "--junitxml=out.xml")
    assert one.returncode == 0
    [found] = ET.parse(project.root / "out.xml").getroot().iter("testcase")
    assert found.get("name") == "case_3"


@pytest.mark.slow
def test_workers_record_together_and_replay_needs_nobody(project: Project, run: Run) -> None:
    recorded = run("-n", "2", "--loom-record")
    assert outcomes(recorded)["wrong"] == "FAILED"
    path = project.root / "tests/recordings/classify.jsonl"
    assert "recorded in tests/recordings/classify.jsonl: 7 answers" in recorded.stdout
    assert len(path.read_bytes().splitlines()) == 7
    for store in (project.root / ".loom").glob("answers*"):
        store.unlink()
    project.write("tests/classify_test.yaml", SUITE.partition("  - name: wrong")[0])
    replayed = run("--loom-replay")
    assert replayed.returncode == 0, replayed.stdout
    assert "1 answer that no case uses (`wrong`); the next --record drops it" in replayed.stdout
    run("--loom-record", "-k", "case_1")
    assert len(path.read_bytes().splitlines()) == 7  # a part of the suite drops nothing
    run("--loom-record")
    assert len(path.read_bytes().splitlines()) == 6


def test_a_file_that_cannot_be_run_is_a_collection_error_in_plain_words(project: Project, run: Run) -> None:
    project.write(
        "tests/classify_test.yaml",
        SUITE.replace("sentiment:", "sentimant:").replace("[passed]", "[pased]", 1),
    )
    done = run()
    assert done.returncode == 2
    assert "did you mean `sentiment`?" in done.stdout
    assert "column 1: there is no `pased` (did you mean `passed`?)" in done.stdout
    assert "pytest_plugin.py" not in done.stdout


def test_other_yaml_files_are_nobody_s_business(project: Project, run: Run) -> None:
    project.write("tests/classify_test.yaml", "pipeline: classify\nsteps: []\n")
    project.write("tests/other_test.yaml", "unit_tests: []\n")
    project.write("tests/test_own.py", "def test_own(): pass\n")
    assert outcomes(run()) == {"test_own": "PASSED"}


def test_a_file_like_ours_outside_of_a_project_is_somebody_else_s(project: Project, run: Run) -> None:
    (project.root / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    project.write("tests/test_own.py", "def test_own(): pass\n")
    assert outcomes(run()) == {"test_own": "PASSED"}


def test_a_byte_order_mark_hides_no_suite(project: Project, run: Run) -> None:
    project.write("tests/classify_test.yaml", f"\ufeff{SUITE}")
    assert len(outcomes(run("--collect-only", "-q"))) == 0
    assert "case_0" in run("--collect-only", "-q").stdout


def test_nothing_heavy_comes_along_for_those_who_have_no_prompt_tests() -> None:
    code = (
        "import pytest, sys; before = set(sys.modules); import loom_dagster.pytest_plugin;"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ}
    )
    ours = {"loom_dagster", "loom_dagster.pytest_plugin"}
    heavy = {name for name in done.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names}
    assert heavy == ours
