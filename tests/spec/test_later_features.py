from __future__ import annotations

import pytest

PIPELINE = "name: x\nextract: {{source: {source}{extract}}}\ntransform: {{prompt: {prompt}{transform}}}\nload: {{destination: {destination}{load}}}\n{more}"
DEFAULTS = {
    "source": "a",
    "extract": "",
    "prompt": "p",
    "transform": "",
    "destination": "b",
    "load": "",
    "more": "",
}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"transform": ", type: rag"}, "`transform.type: rag`"),
        ({"prompt": "classify@production"}, "a label on a prompt (`@production`)"),
        ({"source": "snowflake://a/b"}, "`snowflake://` in `extract.source`"),
        ({"source": "mssql+pyodbc://a/b"}, "`mssql+pyodbc://` in `extract.source`"),
        ({"destination": "bigquery://x.db"}, "`bigquery://` in `load.destination`"),
        ({"source": '"data/{{ execution_date }}.csv"'}, "a template in `extract.source`"),
    ],
)
def test_a_feature_that_is_not_there_yet_is_refused_by_name(problems_of, change, name):
    found = problems_of(PIPELINE.format(**DEFAULTS | change))
    assert len(found) == 1
    assert f": {name} is not available in this version (0.1) (" in found[0]


def test_typos_beside_such_features_are_still_found(problems_of):
    found = problems_of(
        PIPELINE.format(**DEFAULTS | {"more": "monitoring: {latency_slo: 1}", "transform": ", type: rag"})
    )
    assert len(found) == 2
    assert "did you mean `latency_sla`?" in found[0] + found[1]


@pytest.mark.parametrize(
    "source",
    ["s3://bucket/x", "a@b/c.csv", "C:/data.csv", "pipeline://other", "https://x/y.csv", "postgres://a/b"],
)
def test_files_databases_and_pipelines_are_there(problems_of, source):
    assert problems_of(PIPELINE.format(**DEFAULTS | {"source": source})) == []
