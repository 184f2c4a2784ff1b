"""`loom test --baseline`: a project in git, a prompt that changes, and runs and commits that it is compared with."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.assembly import Loom
from loom_dagster.assembly.bench import Bench, BenchOptions
from loom_dagster.errors import Misconfigured
from loom_dagster.prompt_tests.verdicts import Compared, Comparison
from tests.journeys.project import Project

PROMPT = """---
version: {version}
examples:
  - input: {{text: "A lovely, great and wonderful thing, I am happy"}}
    output: {{sentiment: positive}}
  - input: {{text: "An awful, broken and useless thing, I am angry"}}
    output: {{sentiment: {awful}}}
---
Is this review positive or negative? {{{{ input.text }}}}
"""
GOOD, BAD = PROMPT.format(version="v1", awful="negative"), PROMPT.format(version="v2", awful="positive")
SUITE = """
pipeline: classify
unit_tests:
  - {name: lovely, input: {text: "A lovely and great thing"}, expected: {sentiment: positive}}
  - {name: awful, input: {text: "An awful and useless thing"}, expected: {sentiment: negative}, repeat: 2}
distributional_tests:
  - {name: agrees, type: agreement, reference: label, sample_size: 100, assertions: [accuracy > 0.9]}
  - {name: cheap, type: cost_budget, sample_size: 50, max_cost: 1}
"""
EVALUATE = {
    "evaluators": [{"name": "right", "type": "exact_match", "field": "sentiment", "reference_field": "label"}]
}


def git(root: Path, *args: str) -> None:
    who = ["-c", "user.email=a@example.com", "-c", "user.name=a", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *args], cwd=root, check=True, capture_output=True)


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-qm", "as it is")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """In a folder of its repository, with its prompt as it was at HEAD."""
    project = Project(tmp_path / "repository" / "loom")
    lines = ["id,text,label"]
    for i in range(120):
        kind = ("A lovely and great", "positive") if i % 2 else ("An awful and broken", "negative")
        lines.append(f"R-{i:03},{kind[0]} thing number {i},{kind[1]}")
    project.write("data/reviews.csv", "\n".join(lines))
    project.write("prompts/classify.txt", GOOD)
    project.write("tests/classify_test.yaml", SUITE)
    project.write(".gitignore", ".loom\nout\n")
    project.pipeline(extract={"source": "data/reviews.csv", "key": "id"}, evaluate=EVALUATE)
    git(project.root.parent, "init", "-q")
    commit(project.root)
    return project


@pytest.fixture
def compare(project: Project) -> Callable[..., list[Compared]]:
    def compared(baseline: str, **options: bool) -> list[Compared]:
        loom = Loom.open(project.root)
        with Bench(loom, project.root / "tests" / "classify_test.yaml", BenchOptions(**options)) as bench:
            return bench.compare(bench.items, baseline)

    return compared


def test_the_same_version_is_not_worse_and_asks_nobody_twice(project: Project, compare) -> None:
    cases, records = compare("HEAD")
    assert [c.verdict for c in (cases, records)] == [Comparison.SAME] * 2
    assert (cases.of, len(cases.changes)) == ("cases", 3)
    assert (records.of, len(records.changes)) == (
        "records",
        100,
    )  # the smaller sample is a part of the larger one
    assert sum(c.before.paid + c.after.paid for c in records.changes) == 0
    assert cases.worse == records.worse == []


def test_a_prompt_that_got_worse_is_shown_record_by_record(project: Project, compare) -> None:
    project.write("prompts/classify.txt", BAD)
    cases, records = compare("HEAD")
    assert records.verdict is Comparison.WORSE and records.certain and len(records.changes) < 100
    assert all(int(c.case[2:]) % 2 == 0 for c in records.worse)
    lost = records.worse[0]
    assert (lost.before.output, lost.after.output) == ({"sentiment": "negative"}, {"sentiment": "positive"})
    assert (lost.before.score, lost.after.score) == (1.0, 0.0) and "right 0.00 < 1.00" in lost.after.reason
    assert {c.case for c in cases.worse} == {"awful"} and len(cases.worse) == 2
    assert cases.verdict is Comparison.SAME  # three pairs show nothing
    assert cases.worse[0].after.reason == "sentiment is 'negative' (actual: 'positive')"


def test_what_was_mended_since_a_commit_is_better(project: Project, compare) -> None:
    project.write("prompts/classify.txt", BAD)
    commit(project.root)
    git(project.root, "tag", "released")
    project.write("prompts/classify.txt", GOOD.replace("v1", "v3"))
    _, records = compare("released")
    assert records.verdict is Comparison.BETTER and records.baseline.startswith("released (")


def test_a_run_is_compared_by_its_own_records_quarantined_ones_too(project: Project, compare) -> None:
    loom = Loom.open(project.root)
    snapshot = loom.verdict("classify") if loom.run("classify") else None
    assert snapshot is not None
    [same] = compare(snapshot.id)
    assert same.verdict is Comparison.SAME and len(same.changes) == 100
    project.write("data/reviews.csv", "id,text,label\nR-1,gone,positive")  # the run has its rows
    project.write("prompts/classify.txt", BAD)
    [worse] = compare(snapshot.id[:18])
    assert worse.verdict is Comparison.WORSE and worse.baseline == f"run {snapshot.id}"


def test_a_run_of_which_half_was_quarantined(project: Project, compare) -> None:
    project.write("prompts/classify.txt", BAD)
    loom = Loom.open(project.root)
    loom.run("classify")
    snapshot = loom.verdict("classify")
    assert snapshot is not None and pq.read_table(snapshot.quarantine).num_rows == 60
    project.write("prompts/classify.txt", GOOD.replace("v1", "v3"))
    [found] = compare(snapshot.id)
    assert found.verdict is Comparison.BETTER
    gained = found.better[0]
    assert gained.before.reason == "right 0.00 < 1.00" and gained.before.output == {"sentiment": "positive"}


def test_both_are_judged_by_the_evaluators_of_today(project: Project, compare) -> None:
    project.pipeline(
        extract={"source": "data/reviews.csv", "key": "id"},
        evaluate={
            "evaluators": [{"name": "never", "type": "regex", "output_field": "sentiment", "pattern": "^x$"}]
        },
    )
    _, records = compare("HEAD")
    assert records.verdict is Comparison.SAME
    assert not any(c.before.passed or c.after.passed for c in records.changes)


def test_other_evaluators_than_those_of_the_run_are_left_out_and_said(project: Project, compare) -> None:
    loom = Loom.open(project.root)
    loom.run("classify")
    snapshot = loom.verdict("classify")
    project.pipeline(
        extract={"source": "data/reviews.csv", "key": "id"},
        evaluate={
            "evaluators": [{"name": "new", "type": "regex", "output_field": "sentiment", "pattern": "."}]
        },
    )
    [found] = compare(snapshot.id)
    assert [test.of for test in found.tests] == ["passed"]
    assert "`new`: it is left out" in found.warnings[0]


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("nowhere", "is gone, or never was"),
        ("--help", "is gone, or never was"),
        ("pipeline", "there is no pipeline `classify`"),
        ("yaml", r"later:pipelines/classify\.yaml"),
        ("project", "^baseline `HEAD`: the project cannot be read"),
        ("run", r"the files of run .* are gone"),
    ],
)
def test_a_baseline_that_cannot_be_had_says_what_to_do(
    project: Project, compare, broken: str, says: str
) -> None:
    good = (project.root / "pipelines" / "classify.yaml").read_text()
    ref = broken
    if broken == "pipeline":
        project.write("pipelines/classify.yaml", good.replace("name: classify", "name: other"))
    elif broken == "yaml":
        project.write("pipelines/classify.yaml", good + "\nnonsense: 1\n")
    elif broken == "project":
        git(project.root.parent, "checkout", "-q", "--orphan", "empty")
        git(project.root.parent, "rm", "-rq", "--cached", ".")
        project.write("../README", "something else")
        git(project.root.parent, "add", "README")
        git(project.root.parent, "commit", "-qm", "nothing here")
        ref = "HEAD"
    elif broken == "run":
        loom = Loom.open(project.root)
        loom.run("classify")
        snapshot = loom.verdict("classify")
        assert snapshot is not None
        shutil.rmtree(snapshot.transformed.parent)
        ref = snapshot.id
    if broken in ("pipeline", "yaml"):
        commit(project.root)
        git(project.root, "tag", "later")
        ref = "later"
        project.write("pipelines/classify.yaml", good)
    with pytest.raises(Misconfigured) as raised:
        compare(ref)
    shown = "\n".join([str(raised.value), *map(str, raised.value.problems)])
    assert re.search(says, shown), shown
    assert raised.value.fix


def test_without_git_a_run_can_still_be_named(
    project: Project, compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Misconfigured, match="no git ref"):
        compare("HEAD")


def test_what_a_commit_holds_is_read_as_files_and_nothing_else(project: Project, compare) -> None:
    """Links that lead out of the project are not followed."""
    (project.root / "prompts" / "outside.txt").symlink_to("/etc/passwd")
    commit(project.root)
    assert compare("HEAD")[0].verdict is Comparison.SAME


def test_the_command_decides_by_statistics_and_says_why(project: Project) -> None:
    project.write("prompts/classify.txt", BAD)
    ran = project.loom("test", "classify", "--baseline", "HEAD")
    assert ran.code == 1, ran.err
    assert "Records against HEAD (" in ran.out and "stopped after" in ran.out
    assert "Worse than the baseline" in ran.out
    found = project.loom("test", "classify", "-k", "lovely", "--baseline", "HEAD", "--json")
    assert found.code == 0
    [suite] = found.json["suites"]
    assert suite["comparisons"][0]["verdict"] == "no difference shown"


def test_a_cost_that_nobody_will_know_is_refused_before_anybody_is_asked(project: Project) -> None:
    project.environ = {"OPENAI_API_KEY": "k"}
    transform = {"prompt": "prompts/classify.txt", "model": "openai/any", "api_base": "http://127.0.0.1:9"}
    project.pipeline(extract={"source": "data/reviews.csv", "key": "id"}, transform=transform)
    refused = project.loom("test", "classify")
    assert refused.code == 2
    assert (
        "classify_test.yaml:8: test `cheap`: it is about costs, and the price of `openai/any` is not known"
        in refused.err
    )


def test_times_finer_than_pythons_are_read_as_a_run_reads_them(tmp_path: Path) -> None:
    project = Project(tmp_path / "fine")
    at = pa.array([1700000000123456789], pa.timestamp("ns"))
    (project.root / "data").mkdir()
    pq.write_table(pa.table({"id": ["a"], "text": ["x"], "at": at}), project.root / "data/reviews.parquet")
    never = {"name": "never", "type": "regex", "field": "sentiment", "pattern": "nope"}
    project.pipeline(evaluate={"evaluators": [never]})
    case = "unit_tests: [{name: one, input: {id: c, text: fine}, expected: {sentiment: positive}}]"
    project.write("tests/classify_test.yaml", f"pipeline: classify\n{case}\n")
    run_id = project.run().outcome["run_id"]
    compared = project.loom("test", "classify", "--baseline", run_id)
    assert (compared.code, "0 calls paid, 1 reused" in compared.out) == (0, True), compared.out
