import io
from dataclasses import replace

import pytest

from loom_dagster.cli.summary import summarise
from loom_dagster.cli.terminal import Terminal
from loom_dagster.cli.verdict import verdict
from loom_dagster.pipeline.outcome import Counts, LoadResult, Outcome, ScoreSummary, Spending, Verdict


def score(name, *, failed=0, errors=0):
    return ScoreSummary(
        name=name, type="semantic", threshold=0.8, passed=9, failed=failed, errors=errors,
        mean=0.87, std=0.12, min=0.45, max=1.0,
    )  # fmt: skip


GOOD = Outcome(
    run_id="20261114-001",
    pipeline="customer_sentiment",
    version="2.1.0",
    status="succeeded",
    counts=Counts(extracted=10_000, passed=9_847, quarantined=153),
    verdict=Verdict(passed=True, reason="0.985 >= 0.95", pass_rate=0.985, threshold=0.95),
    released=True,
    snapshot="20261114-001",
    transformed_path=".loom/snapshots/x/transformed.parquet",
    quarantine_path=".loom/snapshots/x/quarantine.parquet",
    scores=(score("semantic_similarity"), score("quality_criteria", failed=140, errors=3)),
    spending=Spending(
        cost={"transform": 1.80, "evaluate": 0.54}, calls=19_000, reused=1_000, input_tokens=1_000_000,
        output_tokens=90_000, p50=1.2, p95=3.4, p99=5.8,
    ),
    seconds={"total": 125.3},
    reasons={"evaluate: quality_criteria": 143, "transform: wrong_schema": 10},
    quarantine_sample=(
        {"record_id": "r1", "stage": "transform", "kind": "wrong_schema", "reason": "confidence is missing"},
    ),
    load=LoadResult(loaded=True, destination="data/out.parquet", mode="upsert", rows=9_847, seconds=3.2),
)  # fmt: skip


def page(outcome, encoding="utf-8"):
    stream = Page()
    stream.encoding = encoding
    summarise(outcome, Terminal(stream, {}))
    return stream.getvalue()


class Page(io.StringIO):
    encoding = "utf-8"


def test_the_page_shows_what_the_design_shows():
    lines = [" ".join(line.split()) for line in page(GOOD).splitlines()]
    for expected in (
        "Pipeline: customer_sentiment (v2.1.0)",
        "Extract: ✅ 10,000 records",
        "Transform: ✅ 9,990 processed, 10 failed",
        "Evaluate: ✅ 9,847 passed, 143 rejected",
        "Load: ✅ 9,847 loaded into data/out.parquet, upsert (3.2s)",
        "Processed: 10,000",
        "Validated: 9,847 (98.5%)",
        "Rejected: 153 (1.5%)",
        "semantic_similarity: 0.87 (±0.12)",
        "quality_criteria: 0.87 (±0.12) 140 below 0.80, 3 without a score",
        "Cost: $2.34",
        "Transform: $1.80",
        "Evaluate: $0.54",
        "Saved: by the answer store, 1,000 answers not paid for again",
        "Total Duration: 2m 05s",
        "p50 Latency: 1.2s",
        "p95 Latency: 3.4s",
        "p99 Latency: 5.8s",
        "143 evaluate: quality_criteria",
        "10 transform: wrong_schema e.g. r1",
        "✅ Pipeline completed successfully",
        "loom quarantine list customer_sentiment",
    ):
        assert expected in lines, expected


def test_no_line_is_wider_than_eighty_columns_but_for_paths():
    assert all(len(line) <= 80 for line in page(GOOD).splitlines())


def test_it_can_be_written_where_only_ascii_can():
    assert page(GOOD, "ascii").isascii()


def test_simulated_answers_are_called_that():
    shown = page(replace(GOOD, simulated=True, versions={"model": "offline/demo"}))
    assert "simulated answers: offline/demo" in shown


def test_a_held_batch_says_how_to_release_it():
    held = replace(
        GOOD, status="held", released=False, load=None,
        verdict=Verdict(passed=False, reason="pass rate 0.90 < 0.95", pass_rate=0.9, threshold=0.95),
    )  # fmt: skip
    shown = page(held)
    assert "❌ Held, and not loaded: pass rate 0.90 < 0.95" in shown
    assert 'loom release customer_sentiment --why "..."' in shown


def test_a_name_that_a_shell_would_split_is_quoted():
    assert "loom quarantine list 'my pipeline'" in page(replace(GOOD, pipeline="my pipeline"))


def test_unknown_prices_are_not_kept_quiet():
    spending = Spending(cost={"transform": 0.0}, calls=3, unpriced=3)
    assert "Cost: $0.00 and 3 calls of unknown price" in page(replace(GOOD, spending=spending))


@pytest.mark.parametrize(
    ("change", "sign", "words"),
    [
        ({"counts": Counts(extracted=10, passed=8, quarantined=1)}, "bad", "do not add up, +1"),
        ({"status": "interrupted"}, "warn", "Interrupted"),
        ({"status": "deferred", "stopped_by": "401: the key is wrong"}, "bad", "Stopped: 401: the key is wrong"),
        ({"status": "deferred", "counts": Counts(extracted=3, passed=1, deferred=2)}, "warn", "2 records deferred"),
        ({"counts": Counts(extracted=4, quarantined=4)}, "bad", "Nothing passed: all 4"),
        ({"verdict": Verdict(passed=False, reason="0.5 < 0.9")}, "bad", "The gate failed: 0.5 < 0.9"),
        ({"counts": Counts(), "load": None}, "good", "the source was empty"),
        ({"trial": True, "load": None}, "good", "Trial completed"),
        (
            {"load": LoadResult(loaded=False, destination="d", mode="append", reason="the table is locked")},
            "warn",
            "not loaded: the table is locked",
        ),
    ],
)  # fmt: skip
def test_every_ending_has_its_sentence(change, sign, words):
    found = verdict(replace(GOOD, **change))
    assert found[0] == sign
    assert words in found[1]


def test_what_records_say_is_shown_escaped():
    outcome = replace(GOOD, reasons={"evaluate: \x1b[2Jboo": 1}, notes=("note \x1b[31m",))
    assert "\x1b" not in page(outcome)


def test_a_pipeline_that_did_not_run_has_a_verdict_and_no_numbers():
    why = "not run: what it reads was not released"
    missed = replace(GOOD, run_id="", status="failed", stopped_by=why, transformed_path="", quarantine_path="",
                     counts=Counts(), reasons={}, load=None)  # fmt: skip
    assert page(missed).splitlines() == ["Pipeline: customer_sentiment (v2.1.0)", f"❌ Stopped: {why}"]
