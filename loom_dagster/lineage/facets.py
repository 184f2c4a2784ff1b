"""What the events of OpenLineage are made of: datasets, jobs and their facets, each with the address of its schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

__all__ = [
    "EVENT",
    "PRODUCER",
    "Dataset",
    "Told",
    "column_lineage",
    "dataset",
    "facet",
    "job_facets",
    "own_facet",
    "spelled",
]

PRODUCER = "https://pypi.org/project/loom-dagster"
_SPEC = "https://openlineage.io/spec"
EVENT = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs"

_FACETS = {
    "columnLineage": "1-2-0/ColumnLineageDatasetFacet",
    "dataQualityAssertions": "1-1-0/DataQualityAssertionsDatasetFacet",
    "dataQualityMetrics": "1-0-3/DataQualityMetricsInputDatasetFacet",
    "dataSource": "1-0-1/DatasourceDatasetFacet",
    "documentation": "1-1-0/DocumentationJobFacet",
    "errorMessage": "1-0-1/ErrorMessageRunFacet",
    "inputStatistics": "1-0-0/InputStatisticsInputDatasetFacet",
    "jobType": "2-0-4/JobTypeJobFacet",
    "nominalTime": "1-0-1/NominalTimeRunFacet",
    "outputStatistics": "1-0-2/OutputStatisticsOutputDatasetFacet",
    "parent": "1-2-0/ParentRunFacet",
    "processing_engine": "1-1-1/ProcessingEngineRunFacet",
    "schema": "1-2-0/SchemaDatasetFacet",
    "sourceCodeLocation": "1-1-0/SourceCodeLocationJobFacet",
    "sql": "1-1-0/SQLJobFacet",
}
"""Facets by the key they have in an event: version and name of each one's schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A place that is read or written. ``columns``: name and type of each, as far as they are known."""

    namespace: str
    name: str
    columns: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the events of a pipeline say beside its document. ``namespace`` is that of its jobs, ``version`` that of loom.
    ``read``: the columns that the prompt names; ``key``: those that are handed on as they are; ``made``: the output's own.
    ``nominal``: begin and end of a partition in time."""

    namespace: str
    pipeline: str
    version: str
    inputs: Sequence[Dataset]
    outputs: Sequence[Dataset]
    transformed: Dataset
    read: Sequence[str] = ()
    key: Sequence[str] = ()
    made: Sequence[str] = ()
    description: str | None = None
    code: tuple[str, str] | None = None
    query: str | None = None
    streaming: bool = False
    nominal: tuple[datetime, datetime] | None = None
    semantics: Mapping[str, Any] = field(default_factory=dict)


def job_facets(told: Told) -> dict[str, Any]:
    processing = "STREAMING" if told.streaming else "BATCH"
    facets = {"jobType": facet("jobType", processingType=processing, integration="LOOM", jobType="PIPELINE")}
    if told.description:
        facets["documentation"] = facet("documentation", description=told.description)
    if told.code is not None:
        url, path = told.code
        facets["sourceCodeLocation"] = facet("sourceCodeLocation", type="file", url=url, path=path)
    if told.query:
        facets["sql"] = facet("sql", query=told.query)
    return facets


def dataset(
    place: Dataset,
    facets: Mapping[str, Any] | None = None,
    *,
    input_facets: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    known = {"dataSource": facet("dataSource", name=place.namespace, uri=_uri(place)), **(facets or {})}
    if place.columns:
        columns = [{"name": n, "type": t, "ordinal_position": i} for i, (n, t) in enumerate(place.columns, 1)]
        known["schema"] = facet("schema", fields=columns)
    made: dict[str, Any] = {"namespace": place.namespace, "name": place.name, "facets": known}
    return {**made, "inputFacets": dict(input_facets)} if input_facets else made


def _uri(place: Dataset) -> str:
    if place.namespace == "file":
        return Path(place.name).as_uri()
    server = place.namespace if "://" in place.namespace else f"loom://{quote(place.namespace)}"
    return f"{quote(server, safe=':/@%')}/{quote(place.name)}"


def column_lineage(place: Dataset, told: Told) -> dict[str, Any]:
    """Which columns of the input each column is made of: outputs of all that the prompt reads."""
    if not told.inputs:
        return {}
    source = told.inputs[0]

    def of(column: str, kind: str, words: str) -> dict[str, Any]:
        how = {"type": "DIRECT", "subtype": kind, "description": words, "masking": False}
        return {"namespace": source.namespace, "name": source.name, "field": column, "transformations": [how]}

    names = [name for name, _ in place.columns] or [*told.key, *told.made]
    asked = f"prompt {told.semantics.get('prompt_name') or ''} on {told.semantics.get('model') or 'a model'}"
    fields = {
        name: {"inputFields": [of(column, "TRANSFORMATION", asked) for column in told.read]}
        for name in names
        if name in told.made and told.read
    }
    known = {column for column, _ in source.columns} | set(told.key)
    fields |= {
        n: {"inputFields": [of(n, "IDENTITY", "")]} for n in names if n in known and n not in told.made
    }
    return {"columnLineage": facet("columnLineage", fields=fields)} if fields else {}


def facet(name: str, /, **values: Any) -> dict[str, Any]:
    schema = _FACETS[name]
    kind = schema.partition("/")[2]
    return {"_producer": PRODUCER, "_schemaURL": f"{_SPEC}/facets/{schema}.json#/$defs/{kind}", **values}


def own_facet(base: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A facet that the specification does not know: one that has what every facet has, and more."""
    return {"_producer": PRODUCER, "_schemaURL": f"{EVENT}/{base}", **values}


def spelled(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
