"""Mermaid takes the chart whatever things are called."""

from __future__ import annotations

import re

import hypothesis
import pytest
from hypothesis import strategies as st

from loom_dagster.assembly.describing import pipeline_lineage, run_lineage
from loom_dagster.lineage import pipeline_chart, run_chart
from loom_dagster.lineage.mermaid import label

NODE = re.compile(r'  n\d+(?:\[\(|\[/|\[|\{\{|\(\[)"([^"<>`\[\](){}|\\]|<br/>)+"(?:\)\]|/\]|\]|\}\}|\]\))')
EDGE = re.compile(r"  n(\d+) (?:-->|-\.->) n(\d+)")


def check(chart):
    first, *lines = chart.splitlines()
    assert first == "flowchart LR"
    nodes = [line for line in lines if NODE.fullmatch(line)]
    edges = [line for line in lines if EDGE.fullmatch(line)]
    assert sorted(nodes + edges) == sorted(lines)
    used = {n for line in edges for n in EDGE.fullmatch(line).groups()}
    assert used <= {re.match(r"  n(\d+)", line)[1] for line in nodes}


@hypothesis.given(st.text())
def test_a_label_never_ends_its_quotes(text):
    assert not set(label(text)) & set('"<>`[](){}|\\\n\r')


@pytest.mark.parametrize("name", ['say "hi"', "a]b[c", "end", "größe 🙂", "x{{y}}", "<b>", "a;b#c"])
def test_any_name_makes_a_chart(shop, name):
    shop.pipeline(
        name, extract={"source": 'data/reviews "x" [1].csv', "key": "id"}, load={"destination": "out/[x].csv"}
    )
    shop.pipeline("below", extract={"source": f"pipeline://{name}", "key": "id"})
    shop.write("pipelines/own.yaml", "name: [broken")
    if name not in shop.open().project.files:
        pytest.skip("no pipeline can be called so")
    check(pipeline_chart(pipeline_lineage(shop.open(), name)))


def test_the_chart_of_a_run_says_how_many_went_where(shop):
    run = shop.ran()
    chart = run_chart(run_lineage(shop.open(), "classify", run))
    check(chart)
    for words in ("4 records", "classify.parquet", "quarantined", "v1", "rules", "offline/demo"):
        assert words in chart


def test_the_chart_of_a_pipeline_has_its_neighbours(shop):
    shop.pipeline("below", extract={"source": "out/classify.parquet", "key": "id"})
    for name in ("classify", "below"):
        chart = pipeline_chart(pipeline_lineage(shop.open(), name))
        check(chart)
        assert "classify" in chart and "below" in chart
