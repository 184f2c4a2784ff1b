"""Test files: what loads, and what is wrong with one, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from loom_dagster.errors import Misconfigured
from loom_dagster.spec.suite_file import SuiteFile, read_suite, suite_paths, written_pipeline

SEED = """\
# tests/customer_sentiment_test.yaml
pipeline: customer_sentiment

unit_tests:
  - name: obvious_positive
    input:
      review: "This product is amazing! I love it!"
    expected:
      sentiment: positive
      min_confidence: 0.9
    assertions:
      - evaluation_score > 0.9

  - name: obvious_negative
    input:
      review: "Terrible product. Total waste of money."
    expected:
      sentiment: negative
      min_confidence: 0.9

  - name: subtle_neutral
    input:
      review: "The product works as described."
    expected:
      sentiment: neutral
      min_confidence: 0.7

distributional_tests:
  - name: quality_distribution
    type: statistical
    sample_size: 1000
    assertions:
      - mean(evaluation_scores) > 0.75
      - std(evaluation_scores) < 0.3
      - min(evaluation_scores) > 0.5

  - name: hallucination_check
    type: hallucination_rate
    sample_size: 1000
    threshold: 0.05  # Less than 5%

  - name: cost_check
    type: cost_budget
    sample_size: 1000
    max_cost: 2.50  # Per 1000 records

integration_tests:
  - name: end_to_end_pipeline
    steps:
      - extract: 100 sample records
      - transform: classify sentiment
      - evaluate: check quality gates
      - load: verify destination
    assertions:
      - records_loaded > 95  # At least 95% pass
      - total_cost < 0.50
      - duration < 60  # seconds
"""


def read(root: Path, text: str) -> SuiteFile:
    path = root / "tests" / "customer_sentiment_test.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return read_suite(path, root)


def test_the_first_loom_s_test_file_loads_as_it_is_written(tmp_path: Path) -> None:
    suite = read(tmp_path, SEED)
    assert [case.name for case in suite.spec.unit_tests] == [
        "obvious_positive",
        "obvious_negative",
        "subtle_neutral",
    ]
    assert suite.spec.integration_tests[0].sample_size == 100
    assert suite.where("unit_tests", 2, "expected", "sentiment") == "tests/customer_sentiment_test.yaml:25"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("pipeline: c", "pipline: c", 2, "did you mean `pipeline`?"),
        ("min_confidence: 0.9", "min_confidence: 0.9\n    repaet: 5", 11, "did you mean `repeat`?"),
        (
            "    assertions:",
            "    pass: sometimes\n    assertions:",
            11,
            "not `all`, a number of repeats (4) or a share",
        ),
        ("    assertions:", "    pass: 3\n    assertions:", 5, "`pass: 3` of `repeat: 1` cannot be reached"),
        ("    input:\n      review", "    inputs:\n      review", 6, "did you mean `input`?"),
        (
            "name: subtle_neutral",
            "name: obvious_positive",
            21,
            "another test is called `obvious_positive`, at line 5",
        ),
        (
            "name: cost_check",
            "name: obvious_positive",
            42,
            "another test is called `obvious_positive`, at line 5",
        ),
        ("cost_budget", "cost_buget", 43, "did you mean `cost_budget`?"),
        ("max_cost: 2.50", "threshold: 0.1", 42, "`threshold` belongs to the type hallucination_rate"),
        ("    threshold: 0.05", "    seed: 1", 37, "needs `threshold`"),
        ("sample_size: 1000", "sample_size: 0", 31, "between 1 and 1,000,000"),
        ("extract: 100 sample", "extract: sample", 50, "does not say how many records"),
        ("      - transform: classify sentiment\n", "", 0, ""),
        ("- transform: classify", "- load: classify", 48, "in this order, each once"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    text = SEED.replace(old, new, 1)
    assert text != SEED
    if not line:
        read(tmp_path, text)
        return
    with pytest.raises(Misconfigured) as raised:
        read(tmp_path, text)
    said = "\n".join(map(str, raised.value.problems))
    assert words in said
    assert f"tests/customer_sentiment_test.yaml:{line}: " in said


def test_a_file_without_tests_says_so(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="there are no tests in it"):
        read(tmp_path, "pipeline: customer_sentiment\n")


@pytest.mark.parametrize(
    ("said", "repeats", "needed"),
    [("all", 5, 5), ("4", 5, 4), ("0.8", 5, 4), ("80%", 5, 4), ("0.81", 5, 5), ("1.0", 5, 5), ("1%", 5, 1)],
)
def test_how_many_repeats_have_to_pass(tmp_path: Path, said: str, repeats: int, needed: int) -> None:
    suite = read(
        tmp_path,
        f"pipeline: p\nunit_tests:\n- {{name: a, input: {{x: y}}, repeat: {repeats}, pass: {said}, expected: {{o: 1}}}}\n",
    )
    assert suite.spec.unit_tests[0].pass_.needed(repeats) == needed


def test_test_files_are_found_below_tests_and_say_for_whom_they_are(tmp_path: Path) -> None:
    for name in ("tests/a_test.yaml", "tests/deep/b_test.yml", "tests/.hidden/c_test.yaml", "tests/d.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("unit_tests: [\npipeline: 'my pipe' # broken\n", encoding="utf-8")
    found = suite_paths(tmp_path)
    assert [path.name for path in found] == ["a_test.yaml", "b_test.yml"]
    assert written_pipeline(found[0]) == "my pipe"
