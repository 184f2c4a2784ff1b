"""Suites against a server that counts: what is asked, what passes, what it costs, and what is left alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loom_dagster.assembly import Loom
from loom_dagster.assembly.bench import Bench, BenchOptions
from loom_dagster.cli.tested import Ran
from loom_dagster.errors import Misconfigured
from loom_dagster.prompt_tests.items import Result, RunResult, SampleResult
from loom_dagster.prompt_tests.running import CaseResult
from loom_dagster.prompt_tests.words import lines_of, reasons_of
from tests.journeys.project import Project
from tests.servers.llm import LLMServer

TEXTS = {"1": "good", "2": "fine", "3": "bad", "4": "great", "5": "awful"}
LABELS = {text: "negative" if text in ("bad", "awful") else "positive" for text in TEXTS.values()}
SUITE = """\
pipeline: classify
unit_tests:
  - name: good
    input: {id: 1, text: good}
    expected: {sentiment: positive}
    tags: [smoke]
  - name: bad
    input: {id: 3, text: bad}
    expected: {sentiment: negative}
    assertions: [latency < 10 and cost < 0.001, output.sentiment == 'negative']
"""


@pytest.fixture
def server() -> Iterator[LLMServer]:
    with LLMServer(labels=LABELS, find=r"Review \w+: (.*)", field="sentiment") as running:
        yield running


@pytest.fixture
def ready(tmp_path: Path, server: LLMServer, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose pipeline asks ``server``."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    project = Project(tmp_path / "project")
    project.reviews(TEXTS)
    classify(project, server)
    project.write("tests/classify_test.yaml", SUITE)
    return project


def classify(project: Project, server: LLMServer, **blocks: Any) -> None:
    transform = {
        "model": "openai/any",
        "api_base": server.base_url,
        "price": {"input": 1.0, "output": 2.0},
        "max_tokens": 50,
        **blocks.pop("transform", {}),
    }
    project.pipeline(transform=transform, **blocks)


def tried(project: Project, words: str | None = None, **options: Any) -> Ran:
    """The suite, run; closed again."""
    bench = Bench(
        Loom.open(project.root, os.environ),
        project.root / "tests/classify_test.yaml",
        BenchOptions(**options),
    )
    with bench:
        ran = Ran(bench=bench, chosen=[item for item in bench.items if item.chosen(words, ())])
        for item, coming in [(item, bench.submit(item)) for item in ran.chosen]:
            ran.results.append((item, coming.result()))
        if bench.records:
            bench.answering.recording.write(whole=ran.whole)
    return ran


def only(ran: Ran) -> Result:
    [(_, result)] = ran.results
    return result


def refused(project: Project, suite: str) -> str:
    project.write("tests/classify_test.yaml", suite)
    with pytest.raises(Misconfigured) as raised:
        tried(project)
    return "\n".join(map(str, raised.value.problems)) or raised.value.sentence()


def test_cases_are_asked_once_and_read_from_the_store_after_that(ready: Project, server: LLMServer) -> None:
    first, second = tried(ready), tried(ready)
    assert first.passed and second.passed
    assert (first.bench.answering.paid.calls, second.bench.answering.paid.calls) == (2, 0)
    assert second.bench.answering.paid.reused == 2
    assert server.stats()["paid"] == 2
    fresh = tried(ready, fresh=True)
    assert (fresh.bench.answering.paid.calls, server.stats()["paid"]) == (2, 4)
    assert tried(ready).bench.answering.paid.calls == 0  # what was asked anew is kept


def test_a_run_of_the_pipeline_uses_what_tests_have_paid_for(ready: Project, server: LLMServer) -> None:
    ready.write("tests/classify_test.yaml", SUITE.replace("id: 1", "id: '1'").replace("id: 3", "id: '3'"))
    tried(ready)
    outcome = Loom.open(ready.root, os.environ).run("classify")
    assert (outcome.spending.calls, outcome.spending.reused) == (3, 2)


def test_a_case_that_fails_says_what_came_instead(ready: Project) -> None:
    ready.write(
        "tests/classify_test.yaml",
        SUITE.replace(
            "sentiment: positive}", "sentiment: negative}\n    assertions: ['cost < 0', 'not passed']"
        ),
    )
    result = {item.name: result for item, result in tried(ready).results}["good"]
    said = reasons_of(result)
    assert said[0] == "sentiment is 'negative' (actual: 'positive')"
    assert said[1].startswith("cost < 0 (actual: ")
    assert said[2] == "not passed (actual: true)"


def test_repeats_are_other_answers_and_flicker_is_counted(ready: Project, server: LLMServer) -> None:
    said = iter(["positive", "negative", "positive", "positive", "positive"])
    server.change(status=503)
    with LLMServer(answer=lambda request: f'{{"sentiment": "{next(said)}"}}') as flickering:
        classify(ready, flickering, transform={"limits": {"in_flight": 1}})
        suite = "pipeline: classify\nunit_tests:\n- {name: good, input: {id: 1, text: good}, repeat: 5, pass: 80%, expected: {sentiment: positive}}\n"
        ready.write("tests/classify_test.yaml", suite)
        result = only(tried(ready))
        assert isinstance(result, CaseResult)
        assert (result.passed, result.right, result.flickers) == (True, 4, True)
        assert [line.text for line in lines_of(result)] == ["good (4 of 5 passed, flickers)"]
        ready.write("tests/classify_test.yaml", suite.replace("80%", "all"))
        again = only(tried(ready))  # from the store: the same five
        assert not again.passed
        assert reasons_of(again) == ["sentiment is 'positive' (actual: 'negative') in 1 of 5"]
        assert flickering.stats()["paid"] == 5


def test_an_answer_that_cannot_be_read_fails_the_case_and_keeps_no_other(
    ready: Project, server: LLMServer
) -> None:
    server.change(poison={"bad": "malformed"})
    classify(
        ready, server, load={"on_failure": "fallback", "fallback": {"values": {"sentiment": "negative"}}}
    )
    ran = tried(ready)
    assert [result.passed for _, result in ran.results] == [True, False]
    assert "answer" in reasons_of(ran.results[1][1])[0]


def test_cases_of_a_file_are_a_case_a_row(ready: Project) -> None:
    rows = "id,input.id,input.text,expected.sentiment\na,1,good,positive\nb,3,bad,positive\nc,2,fine,\n"
    ready.write("data/cases.csv", rows)
    suite = "pipeline: classify\nunit_tests:\n- {name: rows, cases: {file: data/cases.csv, id: id}, assertions: [passed]}\n"
    ready.write("tests/classify_test.yaml", suite)
    ran = tried(ready)
    assert [(item.name, result.passed) for item, result in ran.results] == [
        ("rows[a]", True),
        ("rows[b]", False),
        ("rows[c]", True),
    ]
    assert ran.results[1][0].where == "data/cases.csv, row 2"
    nested = '{"input": {"id": "1", "text": "good"}, "expected": {"sentiment": "positive"}}\n'
    ready.write("data/cases.jsonl", nested)
    ready.write(
        "tests/classify_test.yaml", suite.replace("{file: data/cases.csv, id: id}", "data/cases.jsonl")
    )
    assert [(i.name, r.passed) for i, r in tried(ready).results] == [("rows[1]", True)]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("pipeline: classify", "pipeline: clasify", "tests/classify_test.yaml:1: there is no pipeline `clasify` (did you mean `classify`?)"),
        ("text: good", "txt: good", "tests/classify_test.yaml:4: case `good`: the prompt needs the column `text`, and `input` lacks it (did you mean `txt`?)"),
        ("{sentiment: positive}", "{sentimnet: positive}", "tests/classify_test.yaml:5: case `good`: the output has no field `sentimnet` (did you mean `sentiment`?)"),
        ("latency < 10", "latencyy < 10", "tests/classify_test.yaml:10: `latencyy < 10 and cost < 0.001`, column 1: there is no `latencyy` (did you mean `latency`?)"),
        ("latency < 10", "evaluation_score > 0.5", "there is no `evaluation_score`: the pipeline has no evaluators"),
        ("    expected: {sentiment: positive}\n", "", "case `good` expects nothing"),
        ("input: {id: 1, text: good}", "cases: data/none.csv", "data/none.csv"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_anything_is_asked(
    ready: Project, server: LLMServer, old: str, new: str, words: str
) -> None:
    assert words in refused(ready, SUITE.replace(old, new))
    assert server.stats()["requests"] == 0


def test_a_case_file_is_checked_whole(ready: Project) -> None:
    ready.write("data/cases.csv", "id,input.text,expected.sentimnet\na,good,positive\n")
    suite = "pipeline: classify\nunit_tests:\n- {name: rows, cases: data/cases.csv}\n"
    said = refused(ready, suite)
    assert "the prompt needs the column `id`" in said
    assert "no field `sentimnet`" in said
    assert "`data/cases.csv` has no column `key`" in refused(
        ready, suite.replace("data/cases.csv", "{file: data/cases.csv, id: key}")
    )
    ready.write("data/cases.csv", "id,input.id,input.text\na,1,good\na,2,bad\n")
    duplicate = suite.replace(
        "cases: data/cases.csv", "assertions: [passed], cases: {file: data/cases.csv, id: id}"
    )
    assert "row 2 of `data/cases.csv` is called `a`, as row 1 is" in refused(ready, duplicate)


def test_a_recorded_suite_runs_without_a_key_a_server_or_the_source(
    ready: Project, server: LLMServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tried(ready, record=True).passed
    recorded = (ready.root / "tests/recordings/classify.jsonl").read_bytes()
    assert tried(ready, record=True).passed
    assert (ready.root / "tests/recordings/classify.jsonl").read_bytes() == recorded
    server.change(status=503)
    monkeypatch.delenv("OPENAI_API_KEY")
    (ready.root / "data/reviews.parquet").unlink()
    for path in (ready.root / ".loom").glob("*.sqlite*"):
        path.unlink()
    replayed = tried(ready, replay=True)
    assert replayed.passed
    assert replayed.bench.answering.recording.answers_used == 2
    assert not list((ready.root / ".loom").glob("*.sqlite*"))


def test_a_case_without_a_recording_fails_with_the_way_out_and_the_others_pass(ready: Project) -> None:
    tried(ready, record=True)
    ready.write("tests/classify_test.yaml", SUITE.replace("text: bad", "text: awful"))
    ran = tried(ready, replay=True)
    assert [result.passed for _, result in ran.results] == [True, False]
    assert reasons_of(ran.results[1][1]) == [
        "case `bad` has no recording for this prompt and model (record again with loom test classify --record)"
    ]
    ready.write("tests/classify_test.yaml", SUITE.partition("  - name: bad")[0])
    [warning] = tried(ready, replay=True).warnings
    assert warning == (
        "tests/recordings/classify.jsonl: 1 answer that no case uses (`bad`); the next --record drops it"
    )
    tried(ready, record=True)
    assert tried(ready, replay=True).warnings == []


def test_a_part_of_a_suite_is_recorded_beside_the_rest(ready: Project) -> None:
    tried(ready, record=True)
    tried(ready, "good", record=True)
    assert tried(ready, replay=True).passed


def test_nothing_to_replay_is_said_at_once(ready: Project) -> None:
    with pytest.raises(
        Misconfigured, match=r"there is no recording to replay \(make it with loom test classify --record"
    ):
        tried(ready, replay=True)
    with pytest.raises(Misconfigured, match="--replay asks nobody"):
        BenchOptions(replay=True, fresh=True)


def test_no_more_is_spent_than_the_suite_may(ready: Project, server: LLMServer) -> None:
    cases = "".join(
        f"- {{name: c{n}, input: {{id: {n}, text: good}}, expected: {{sentiment: positive}}}}\n"
        for n in range(40)
    )
    ready.write("tests/classify_test.yaml", f"pipeline: classify\nbudget: 0.002\nunit_tests:\n{cases}")
    ran = tried(ready)
    stats = server.stats()
    sold = (stats["input_tokens"] * 1.0 + stats["output_tokens"] * 2.0) / 1e6
    assert 0 < stats["paid"] < 40
    assert sold <= 0.002
    failed = [result for _, result in ran.results if not result.passed]
    assert len(failed) == 40 - stats["paid"]
    assert "the budget of this test run has no room for the call" in reasons_of(failed[0])[0]
    assert tried(ready, budget=1.0).passed  # the rest; what was answered is kept
    assert server.stats()["paid"] == 40


def test_what_tests_spend_counts_for_the_project_s_month(ready: Project, server: LLMServer) -> None:
    ready.write("pyproject.toml", '[tool.loom]\nmodel = "offline/demo"\nmonthly_budget = 0.0000001\n')
    ran = tried(ready)
    assert not ran.passed
    assert "the project's budget" in reasons_of(ran.results[0][1])[0]
    assert server.stats()["paid"] == 0


def test_tests_and_a_run_do_not_wait_for_each_other(ready: Project) -> None:
    loom = Loom.open(ready.root, os.environ)
    running = loom.ledger.begin_run("classify", "", "fingerprint")
    assert tried(ready).passed
    loom.ledger.heartbeat(running)


INTEGRATION = """\
pipeline: classify
integration_tests:
  - name: whole
    steps: [{extract: 4 sample records}, {transform: classify}, {evaluate: gates}, {load: verify}]
    assertions: [records_loaded == 4, records_extracted == 4, total_cost < 0.01, total_cost > 0, duration < 60, pass_rate == 1]
"""


def test_an_integration_test_leaves_nothing_but_answers(ready: Project, server: LLMServer) -> None:
    ready.write("tests/classify_test.yaml", INTEGRATION)
    result = only(tried(ready))
    assert isinstance(result, RunResult)
    assert result.failures == ()
    assert result.facts["records_passed"] == 4
    loom = Loom.open(ready.root, os.environ)
    assert loom.ledger.runs() == []
    assert loom.verdict("classify") is None
    assert loom.ledger.quarantine("classify") == []
    assert not (ready.root / "out").exists()
    assert not any((ready.root / ".loom/scratch").iterdir())
    ran = tried(ready)
    assert ran.passed and server.stats()["paid"] == 4  # the same sample, and its cost is what it was
    assert tried(ready, record=True).passed
    server.change(status=503)
    assert tried(ready, replay=True).passed


def test_an_integration_test_that_fails_says_what_came_of_the_run(ready: Project, server: LLMServer) -> None:
    server.change(poison={"bad": "malformed", "awful": "malformed"})
    classify(ready, server, evaluate={"batch_threshold": 0.9})
    ready.write("tests/classify_test.yaml", INTEGRATION.replace("4 sample", "9 sample"))
    result = only(tried(ready))
    assert isinstance(result, RunResult)
    assert result.failures[0] == "records_loaded == 4 (actual: 0)"
    assert any("60.0%" in reason or "0.6" in reason for reason in result.failures), result.failures
    assert "9 records are wanted and there are 5" in result.notes[0]


def test_a_sample_is_drawn_from_the_source_and_judged(ready: Project) -> None:
    suite = """\
pipeline: classify
distributional_tests:
  - {name: mostly, type: statistical, sample_size: 50, assertions: [fraction(output.sentiment == 'positive') > 0.01]}
"""
    ready.write("tests/classify_test.yaml", suite)
    result = only(tried(ready))
    assert isinstance(result, SampleResult)
    assert result.sampled is not None
    assert (result.sampled.available, result.sampled.findings[0].value) == (5, 0.6)
    assert any("50" in w and "5 records" in w for w in result.sampled.warnings)
    said = refused(ready, suite.replace("output.sentiment", "output.mood"))
    assert "tests/classify_test.yaml:3: test `mostly`" in said
    assert "there is no `output.mood`" in said


def test_a_test_of_a_source_that_is_gone_says_so(ready: Project) -> None:
    (ready.root / "data/reviews.parquet").unlink()
    ready.write("tests/classify_test.yaml", INTEGRATION)
    path = ready.root / "tests/classify_test.yaml"
    with Bench(Loom.open(ready.root, os.environ), path) as bench, pytest.raises(Misconfigured) as raised:
        bench.check(bench.items[0])
    assert "data/reviews.parquet" in str(raised.value.problems)


def test_what_the_pipeline_redacts_nobody_sees_in_a_sample_of_another_place(ready: Project) -> None:
    ready.reviews({"7": "secret one", "8": "secret two"}, "data/other.parquet")
    suite = """\
pipeline: classify
distributional_tests:
  - name: other
    type: statistical
    source: data/other.parquet
    sample_size: 2
    assertions: [count() >= 2]
"""
    ready.write("tests/classify_test.yaml", suite)
    with LLMServer(text='{"sentiment": "positive"}', record=True) as listening:
        classify(ready, listening, extract={"redact": ["text"]})
        tried(ready)
        sent = "".join(map(str, listening.requests))
    assert sent.count("redacted:") >= 2
    assert "secret" not in sent


def test_what_a_case_expects_is_the_reference_of_evaluators_that_want_one(
    ready: Project, server: LLMServer
) -> None:
    right = {"type": "exact_match", "name": "right", "field": "sentiment", "reference_field": "label"}
    shape = {"type": "regex", "name": "shape", "field": "sentiment", "pattern": "^[a-z]+$", "weight": 3}
    classify(ready, server, evaluate={"evaluators": [right, shape]})
    claims = "[passed, scores.right == 1, evaluation_score == 1]"
    suite = f"pipeline: classify\nunit_tests:\n- {{name: a, input: {{id: 1, text: good}}, expected: {{sentiment: positive}}, assertions: {claims}}}\n"
    ready.write("tests/classify_test.yaml", suite)
    assert tried(ready).passed
    ready.write("tests/classify_test.yaml", suite.replace("expected: {sentiment: positive}, ", ""))
    result = only(tried(ready))
    assert reasons_of(result) == [
        "passed (actual: false)",
        "scores.right == 1 (cannot be said: the score could not be had)",
        "evaluation_score == 1 (actual: 0.75)",
        "the gate says: right: reference `label` is not a column of the record",
    ]
