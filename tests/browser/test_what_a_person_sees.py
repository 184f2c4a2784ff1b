"""A pipeline whose batch passes and one whose batch is held, materialized by clicks in Dagster's UI."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.pages import Pages, drawn
from tests.journeys.project import Project
from tests.servers.dagster_ui import DagsterUI

pytestmark = [pytest.mark.slow, pytest.mark.service]

# the offline model answers like the example that a text is most like, so that it is wrong about r4
PROMPT = """---
examples:
  - input: I love it, it is wonderful and great
    output: {sentiment: positive}
  - input: I hate it, it is terrible and broken
    output: {sentiment: negative}
---
{{ input.text }}
"""
ROWS = """id,text,label
r1,"I love it, it is wonderful and great",positive
r2,"I hate it, it is terrible and broken",negative
r3,"Wonderful, I love it",positive
r4,"It is terrible how great it is, I love it and hate that it ends",positive
r5,"Broken, I hate it",positive
"""


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterUI]:
    project = Project(tmp_path_factory.mktemp("seen") / "project")
    project.write("prompts/classify.txt", PROMPT)
    project.write("data/reviews.csv", ROWS)
    for name, threshold in {"lenient": 0.6, "strict": 0.9}.items():
        evaluators = [
            {"name": "agrees", "type": "exact_match", "field": "sentiment", "reference_field": "label"},
            {"name": "known", "type": "regex", "field": "sentiment", "pattern": "^(positive|negative)$"},
        ]
        project.pipeline(
            name,
            extract={"source": "data/reviews.csv"},
            evaluate={"evaluators": evaluators, "batch_threshold": threshold},
        )
    with DagsterUI(project.root, project.env) as ui:
        yield ui


@pytest.fixture
def pages(page: Page, ui: DagsterUI) -> Pages:
    return Pages(page, ui)


def test_a_batch_that_passes_is_loaded_and_every_evaluator_says_how_it_went(pages: Pages) -> None:
    pages.group("lenient")
    pages.materialize_all()
    pages.ends("Success")
    pages.check("lenient/transformed", "agrees")
    seen = pages.page
    expect(seen.get_by_text("4 of 5 records reached 1 (80.0%, wanted 60%)")).to_be_visible()
    expect(pages.result()).to_contain_text("Passed")
    pages.check("lenient/transformed", "known")
    expect(seen.get_by_text("5 of 5 records reached 1 (100.0%, wanted 60%)")).to_be_visible()
    pages.asset("file/out/lenient.parquet")
    expect(pages.value("mode")).to_contain_text("upsert")
    assert (pages.ui.root / "out/lenient.parquet").exists()


def test_a_held_batch_says_why_and_goes_nowhere_and_its_quarantine_can_be_read(pages: Pages) -> None:
    pages.group("strict")
    pages.materialize_all()
    pages.ends("Failure")
    pages.check("strict/transformed", "quality_gate")
    seen = pages.page
    expect(seen.get_by_text("held: 4 of 5 records passed")).to_be_visible()
    expect(pages.result()).to_contain_text("Failed")

    pages.asset("file/out/strict.parquet")
    expect(seen.get_by_text("Failed in", exact=False).first).to_be_visible()
    expect(pages.value("loom/pipeline")).to_be_visible()
    expect(pages.value("mode")).to_have_count(0)  # what a load would have said
    assert not (pages.ui.root / "out/strict.parquet").exists()

    pages.asset("strict/quarantine")
    expect(pages.value("reasons")).to_contain_text("evaluate: agrees")
    expect(pages.value("sample")).to_contain_text("agrees 0.00 < 1.00")
    expect(pages.value("sample")).to_contain_text("r5")


def test_what_runs_came_to_is_drawn(pages: Pages) -> None:
    pages.group("lenient")
    for _ in range(2):
        pages.group("lenient")
        pages.materialize_all()
        pages.ends("Success")
    pages.asset("lenient/transformed")
    curves = pages.plots()
    expect(pages.page.get_by_text("pass_rate", exact=True)).to_be_visible()
    expect(curves.first).to_be_visible()
    assert drawn(curves.first)
