"""Events are what OpenLineage's own classes and schemas say they are, and the same whenever they are asked for."""

from __future__ import annotations

import importlib
import pkgutil
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import attr
import pytest
from openlineage.client import generated
from openlineage.client.generated import base

from loom_dagster.assembly.describing import pipeline_lineage, run_lineage
from loom_dagster.assembly.open_lineage import events_of_pipeline, events_of_run
from loom_dagster.connections import Connection
from loom_dagster.lineage import dataset_name
from tests.servers.llm import LLMServer

_HOLDS = {"Facet": ("facets", "inputFacets", "outputFacets")}


def classes() -> dict[str, type]:
    """Every class of the client that has a schema, by the schema's address."""
    found = {}
    for info in pkgutil.iter_modules(generated.__path__):
        module = importlib.import_module(f"{generated.__name__}.{info.name}")
        for kind in vars(module).values():
            if isinstance(kind, type) and attr.has(kind) and kind.__module__ == module.__name__:
                found[kind._get_schema() if hasattr(kind, "_get_schema") else kind.__name__] = kind
    return found


CLASSES = classes()


def check(value: dict[str, Any], kind: type) -> None:
    """Every value has a place in the class, none that it needs is missing, and its validators agree."""
    fields = {a.name: a for a in attr.fields(kind)}
    assert set(value) <= set(fields), (kind, set(value) - set(fields))
    missing = {n for n, a in fields.items() if a.default is attr.NOTHING} - set(value)
    assert not missing, (kind, missing)
    for name, field in fields.items():
        if name in value and field.validator is not None:
            field.validator(None, field, value[name])


def facets_of(node: Any, base_name: str = "") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Which map holds a facet, its key, the facet."""
    if isinstance(node, dict):
        for holder in _HOLDS["Facet"]:
            for key, facet in (node.get(holder) or {}).items():
                yield holder, key, facet
        for value in node.values():
            yield from facets_of(value)
    elif isinstance(node, list):
        for value in node:
            yield from facets_of(value)


def check_event(event: dict[str, Any]) -> None:
    kind = {"RunEvent": base.RunEvent, "JobEvent": base.JobEvent}[event["schemaURL"].rsplit("/", 1)[1]]
    assert event["schemaURL"] == kind._get_schema()
    check(event, kind)
    check(event["job"], base.Job)
    if kind is base.RunEvent:
        check(event["run"], base.Run)
        base.EventType(event["eventType"])
        uuid.UUID(event["run"]["runId"])
    for dataset in event["inputs"]:
        check(dataset, base.InputDataset)
    for dataset in event["outputs"]:
        check(dataset, base.OutputDataset)
    datetime.fromisoformat(event["eventTime"])
    for _, key, facet in facets_of(event):
        assert facet["_producer"] == event["producer"]
        if key.startswith("loom_"):
            assert facet["_schemaURL"].startswith(base.RunEvent._get_schema().partition("#")[0])
        else:
            check(facet, CLASSES[facet["_schemaURL"]])
        if key == "dataSource":
            assert urlsplit(facet["uri"]).scheme
        for nested in facet.get("assertions", ()):
            check(nested, CLASSES["Assertion"])
        for column in facet.get("fields", ()) if key == "schema" else ():
            check(column, next(k for u, k in CLASSES.items() if u.endswith("SchemaDatasetFacetFields")))


@pytest.fixture
def events(shop):
    def of(name="classify", run=None, namespace="shop"):
        loom = shop.open()
        if run is None:
            return events_of_pipeline(loom, pipeline_lineage(loom, name), namespace)
        return events_of_run(loom, run_lineage(loom, name, run), namespace)

    return of


def test_a_pipeline_is_one_job_event_also_before_it_was_run(shop, events):
    shop.pipeline("classify", description="Sort reviews", extract={"source": "data/reviews.csv", "key": "id"})
    [event] = events()
    check_event(event)
    assert event["job"]["name"] == "classify"
    assert event["job"]["facets"]["documentation"]["description"] == "Sort reviews"
    assert event["job"]["facets"]["sourceCodeLocation"]["path"] == "pipelines/classify.yaml"
    [read], [made] = event["inputs"], event["outputs"]
    assert (read["namespace"], read["name"]) == ("file", str(shop.root / "data/reviews.csv"))
    fields = made["facets"]["columnLineage"]["fields"]
    assert [f["field"] for f in fields["sentiment"]["inputFields"]] == ["text"]
    assert fields["id"]["inputFields"][0]["transformations"][0]["subtype"] == "IDENTITY"


def test_a_run_is_told_from_start_to_end_with_its_evaluation_below_it(shop, events):
    run = shop.ran()
    told = events(run=run)
    for event in told:
        check_event(event)
    assert [(e["job"]["name"], e["eventType"]) for e in told] == [
        ("classify", "START"),
        ("classify.evaluate", "START"),
        ("classify.evaluate", "COMPLETE"),
        ("classify", "COMPLETE"),
    ]
    start, _, evaluated, end = told
    parent = evaluated["run"]["facets"]["parent"]
    assert (parent["run"]["runId"], parent["job"]["name"]) == (start["run"]["runId"], "classify")
    found = evaluated["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert {(a["name"], a["success"]) for a in found} == {
        ("agrees", False),
        ("long enough", True),
        ("quality_gate", True),
    }
    passed = end["run"]["facets"]["loom_semantics"]["counts"]["passed"]
    assert [d["outputFacets"]["outputStatistics"]["rowCount"] for d in end["outputs"]] == [passed, passed]
    assert end["inputs"][0]["inputFacets"]["inputStatistics"]["rowCount"] == 4
    assert end["run"]["facets"]["loom_semantics"]["prompt_version"] == "v1"
    assert events(run=run) == told
    assert events(run=run, namespace="other")[0]["run"]["runId"] != start["run"]["runId"]


def test_a_held_run_failed_until_a_human_releases_it(shop, events):
    shop.pipeline(
        extract={"source": "data/reviews.csv", "key": "id"},
        evaluate={
            "evaluators": [
                {"name": "agrees", "type": "exact_match", "field": "sentiment", "reference_field": "label"}
            ],
            "batch_threshold": 1.0,
        },
    )
    run = shop.ran()
    *_, end = events(run=run)
    check_event(end)
    assert end["eventType"] == "FAIL"
    assert "batch_threshold" in end["run"]["facets"]["errorMessage"]["message"]
    assert "outputFacets" not in end["outputs"][1], "nothing was loaded"
    shop.open().release("classify", why="looks fine")
    assert events(run=run)[-1]["eventType"] == "COMPLETE"


def test_a_run_that_is_still_open_is_running(shop, events):
    shop.environ = {"OPENAI_API_KEY": "k"}
    with LLMServer(status=401) as server:
        shop.pipeline(
            extract={"source": "data/reviews.csv", "key": "id"},
            transform={"model": "openai/any", "api_base": server.base_url},
        )
        run = shop.ran()
    told = events(run=run)
    for event in told:
        check_event(event)
    assert told[-1]["eventType"] == "RUNNING"


def test_a_partition_has_its_time(shop, events):
    shop.write("data/2026-01-05.csv", "id,text,label\nr0,one,positive\n")
    shop.pipeline(
        extract={"source": "data/{{ partition }}.csv", "key": "id", "partitions": {"every": "daily", "start": "2026-01-05"}},
        load={"destination": "out/"},
    )  # fmt: skip
    run = shop.ran(partition="2026-01-05")
    *_, end = events(run=run)
    check_event(end)
    nominal = end["run"]["facets"]["nominalTime"]
    assert (nominal["nominalStartTime"], nominal["nominalEndTime"]) == (
        "2026-01-05T00:00:00.000Z",
        "2026-01-06T00:00:00.000Z",
    )
    assert end["inputs"][0]["name"] == str(shop.root / "data/2026-01-05.csv")


def test_what_one_pipeline_makes_is_what_the_next_one_reads(shop, events):
    shop.pipeline("below", extract={"source": "out/classify.parquet", "key": "id"})
    shop.pipeline("after", extract={"source": "pipeline://classify", "key": "id"})
    made = events()[0]["outputs"][0]
    read = events("below")[0]["inputs"][0]
    assert (made["namespace"], made["name"]) == (read["namespace"], read["name"])
    run = shop.ran()
    through = events("after")[0]["inputs"][0]
    assert (through["namespace"], through["name"]) in [
        (d["namespace"], d["name"]) for d in events(run=run)[-1]["outputs"]
    ]


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("postgres://crm/reviews", ("postgres://db.example:6543", "sales.public.reviews")),
        ("postgres://crm/raw/reviews", ("postgres://db.example:6543", "sales.raw.reviews")),
        ("postgres://crm", ("postgres://db.example:6543", "sales.public.classify")),
        ("postgres://nobody/reviews", ("postgres://nobody", "reviews")),
        ("s3://bucket/a/b.csv", ("s3://bucket", "a/b.csv")),
        ("https://ada:s3cret@api.example/v1/items?token=t0ken", ("https://api.example", "v1/items")),
        ("kafka://crm/topic", ("kafka://db.example:6543", "topic")),
        ("pipeline://other", ("shop", "other.transformed")),
    ],
)
def test_places_are_called_as_the_specification_says(tmp_path, uri, named):
    known = {
        "crm": Connection(name="crm", url="postgresql://ada:s3cret@db.example:6543/sales?sslmode=require")
    }
    found = dataset_name(uri, own="shop", table="classify", root=tmp_path, connections=known)
    assert found == named
