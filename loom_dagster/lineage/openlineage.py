"""Pipelines and runs as OpenLineage events, version 2-0-2 of its specification: https://openlineage.io/spec/2-0-2/OpenLineage.json.

A run is two jobs: the pipeline, and below it (facet ``parent``) its evaluation, which reads what the pipeline made and says
by ``dataQualityAssertions`` what the evaluators found. What OpenLineage has no facet for, such as prompts and models, is in
a facet of our own, ``loom_semantics``. Ids of runs follow from ours: the same events whenever they are asked for.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from loom_dagster.lineage.facets import (
    EVENT,
    PRODUCER,
    Dataset,
    Told,
    column_lineage,
    dataset,
    facet,
    job_facets,
    own_facet,
    spelled,
)

__all__ = ["pipeline_event", "run_events"]

# how a run ends; one that is still open is running, whatever stopped it for now
_ENDS = {"succeeded": "COMPLETE", "held": "FAIL", "failed": "FAIL", "superseded": "ABORT"}


def pipeline_event(told: Told, *, now: datetime) -> dict[str, Any]:
    """A JobEvent: the pipeline as it is written, whether or not it was ever run."""
    facets = {**job_facets(told), "loom_semantics": own_facet("JobFacet", told.semantics)}
    return {
        "eventTime": spelled(now),
        "producer": PRODUCER,
        "schemaURL": f"{EVENT}/JobEvent",
        "job": {"namespace": told.namespace, "name": told.pipeline, "facets": facets},
        "inputs": [dataset(d) for d in told.inputs],
        "outputs": [dataset(d, column_lineage(d, told)) for d in told.outputs],
    }


def run_events(told: Told, document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of a run's document: START of both jobs, then how each ended; RUNNING where the run is still open."""
    run_id, counts = _run_id(told, document["run"]), document["counts"] or {}
    job = {"namespace": told.namespace, "name": told.pipeline, "facets": job_facets(told)}
    facets = {
        "processing_engine": facet("processing_engine", version=told.version, name="loom_dagster"),
        "loom_semantics": own_facet("RunFacet", told.semantics),
    }
    if told.nominal is not None:
        begin, end = told.nominal
        facets["nominalTime"] = facet(
            "nominalTime", nominalStartTime=spelled(begin), nominalEndTime=spelled(end)
        )
    run = {"runId": run_id, "facets": facets}
    inputs = [
        dataset(
            d,
            input_facets={"inputStatistics": facet("inputStatistics", rowCount=counts.get("extracted", 0))},
        )
        for d in told.inputs
    ]
    outputs = [_output(d, told, _rows(d, told, document)) for d in (told.transformed, *told.outputs)]
    started, ended, kind = document["started_at"], document["finished_at"], _end(document)
    begin_event = _event("START", started, run, job, inputs=[dataset(d) for d in told.inputs])
    if ended is None:
        return [begin_event]
    error = _error(document)
    if kind == "FAIL" and error:
        run = {
            **run,
            "facets": {
                **facets,
                "errorMessage": facet("errorMessage", message=error, programmingLanguage="PYTHON"),
            },
        }
    end_event = _event(kind, ended, run, job, inputs=inputs, outputs=outputs)
    return [begin_event, *_evaluation(told, document, run_id, kind), end_event]


def _evaluation(told: Told, document: Mapping[str, Any], parent: str, kind: str) -> list[dict[str, Any]]:
    if not document["evaluators"]:
        return []
    name = f"{told.pipeline}.evaluate"
    above = facet("parent", run={"runId": parent}, job={"namespace": told.namespace, "name": told.pipeline})
    run = {"runId": _run_id(told, f"{document['run']}/evaluate"), "facets": {"parent": above}}
    job = {
        "namespace": told.namespace,
        "name": name,
        "facets": {
            "jobType": facet("jobType", processingType="BATCH", integration="LOOM", jobType="EVALUATION")
        },
    }
    counts = document["counts"] or {}
    found = {
        "dataQualityAssertions": facet("dataQualityAssertions", assertions=_assertions(document)),
        "dataQualityMetrics": facet(
            "dataQualityMetrics", rowCount=counts.get("extracted", 0), columnMetrics=_metrics(document)
        ),
    }
    started, ended = document["started_at"], document["finished_at"]
    return [
        _event("START", started, run, job, inputs=[dataset(told.transformed)]),
        _event(kind, ended, run, job, inputs=[dataset(told.transformed, input_facets=found)]),
    ]


def _assertions(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An evaluator's assertion is that every record reached its threshold; the gate's is the run's verdict."""
    found = [
        {
            "assertion": str(e["type"]),
            "name": e["name"],
            "success": not e["failed"] and not e["errors"],
            "severity": "warn",
            "expected": f">= {e['threshold']:g}",
            "actual": f"{e['passed']} passed, {e['failed']} failed, {e['errors']} without a score",
        }
        for e in document["evaluators"]
    ]
    verdict = (document["snapshot"] or {}).get("verdict")
    if verdict is not None:
        found.append(
            {
                "assertion": "quality_gate",
                "name": "quality_gate",
                "success": bool(verdict["passed"]),
                "severity": "error",
                "description": verdict["reason"],
            }
        )
    return found


def _metrics(document: Mapping[str, Any]) -> dict[str, Any]:
    """Of the scores, each as the column that it is in the snapshot."""
    return {
        f"score:{e['name']}": {
            "count": float(e["passed"] + e["failed"]),
            "nullCount": e["errors"],
            **{k: e[k] for k in ("min", "max") if e[k] is not None},
            **({} if e["mean"] is None else {"sum": e["mean"] * (e["passed"] + e["failed"])}),
        }
        for e in document["evaluators"]
    }


def _end(document: Mapping[str, Any]) -> str:
    released = (document["snapshot"] or {}).get("released_at") is not None
    if document["status"] == "held" and released:
        return "COMPLETE"  # a human let it through
    return _ENDS.get(document["status"], "RUNNING")


def _error(document: Mapping[str, Any]) -> str:
    verdict = (document["snapshot"] or {}).get("verdict") or {}
    return str(document.get("stopped_by") or verdict.get("reason") or "")


def _rows(place: Dataset, told: Told, document: Mapping[str, Any]) -> int | None:
    """Of a destination only once it is loaded."""
    loaded = (document["snapshot"] or {}).get("loaded_at") is not None
    passed: int | None = (document["counts"] or {}).get("passed")
    return passed if loaded or place == told.transformed else None


def _output(place: Dataset, told: Told, rows: int | None) -> dict[str, Any]:
    made = dataset(place, column_lineage(place, told))
    return (
        made
        if rows is None
        else {**made, "outputFacets": {"outputStatistics": facet("outputStatistics", rowCount=rows)}}
    )


def _event(
    kind: str,
    at: datetime,
    run: Mapping[str, Any],
    job: Mapping[str, Any],
    *,
    inputs: Sequence[Any] = (),
    outputs: Sequence[Any] = (),
) -> dict[str, Any]:
    return {
        "eventTime": spelled(at),
        "producer": PRODUCER,
        "schemaURL": f"{EVENT}/RunEvent",
        "eventType": kind,
        "run": dict(run),
        "job": dict(job),
        "inputs": list(inputs),
        "outputs": list(outputs),
    }


def _run_id(told: Told, run: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"loom://{told.namespace}/{told.pipeline}/{run}"))
