"""A pipeline, or one of its runs, as OpenLineage events: what only the project knows is put to the documents."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loom_dagster.assembly.known import snapshot_folder
from loom_dagster.errors import Misconfigured
from loom_dagster.lineage import Dataset, Told, dataset_name, pipeline_event, run_events
from loom_dagster.partitions import Calendar
from loom_dagster.spec import in_partition, is_stream

if TYPE_CHECKING:
    from datetime import datetime

    from loom_dagster.assembly.state import State

__all__ = ["events_of_pipeline", "events_of_run"]


def events_of_pipeline(loom: State, document: Mapping[str, Any], namespace: str) -> list[dict[str, Any]]:
    """One JobEvent, of a pipeline's document."""
    inputs = [place["uri"] for place in document["inputs"]]
    outputs = [place["uri"] for place in document["outputs"]]
    prompt = document["prompt"]
    semantics = {
        "prompt_name": prompt.get("name"),
        "prompt_version": prompt.get("version"),
        "prompt_sha256": prompt.get("sha256"),
        "contexts": {c["name"]: c["version"] for c in document["contexts"]},
        "model": document["model"]["name"],
    }
    last = document["last_run"]
    told = _told(
        loom, document["pipeline"], namespace, inputs, outputs, semantics,
        run=None if last is None else last["run"], made=document["output_columns"], read=prompt.get("columns", ()),
    )  # fmt: skip
    return [pipeline_event(told, now=loom.clock.now())]


def events_of_run(loom: State, document: Mapping[str, Any], namespace: str) -> list[dict[str, Any]]:
    """RunEvents, of a run's document."""
    read, load = document["input"] or {}, document["output"] or {}
    prompt = document["prompt"] or {}
    semantics = {
        "run": document["run"],
        "prompt_name": prompt.get("name"),
        "prompt_version": prompt.get("version"),
        "prompt_sha256": prompt.get("sha256"),
        "contexts": {c["name"]: c["version"] for c in document["contexts"]},
        "model": next((m["name"] for m in document["models"] if m["role"] == "transform"), None),
        "models": {m["role"]: m["name"] for m in document["models"]},
        "simulated": document["simulated"],
        "cost_usd": document["cost_usd"],
        "counts": document["counts"],
    }
    source = read.get("source")
    inputs = [] if source is None else [in_partition(source, document["partition"])]
    outputs = [] if not load or document["trial"] else [load["destination"]]
    told = _told(
        loom, document["pipeline"], namespace, inputs, outputs, semantics,
        run=document["run"], made=document["output_columns"], read=document["prompt_columns"],
        partition=document["partition"],
    )  # fmt: skip
    return run_events(told, document)


def _told(
    loom: State,
    name: str,
    namespace: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    semantics: Mapping[str, Any],
    *,
    run: str | None,
    made: Sequence[str],
    read: Sequence[str],
    partition: str = "",
) -> Told:
    file = loom.project.files.get(name)
    key = () if file is None else file.spec.extract.key
    columns = _columns(loom, name, run)
    known = dict(columns)

    def place(uri: str, names: Sequence[str]) -> Dataset:
        where, called = dataset_name(
            uri, own=namespace, table=name, root=loom.settings.root, connections=loom.settings.connections
        )
        return Dataset(namespace=where, name=called, columns=[(n, known[n]) for n in names if n in known])

    source = [n for n, _ in columns if n not in made and not n.startswith("_loom_")]
    return Told(
        namespace=namespace,
        pipeline=name,
        version=importlib.metadata.version("loom-dagster"),
        inputs=[place(uri, source) for uri in inputs],
        outputs=[place(uri, [*key, *made]) for uri in outputs],
        transformed=Dataset(namespace=namespace, name=f"{name}.transformed", columns=columns),
        read=read,
        key=key,
        made=made,
        description=None if file is None else file.spec.description,
        code=None if file is None else _code(file.path, loom.settings.root),
        query=None if file is None else file.spec.extract.query,
        streaming=file is not None and is_stream(file.spec.extract.source),
        nominal=_nominal(loom, name, partition),
        semantics=semantics,
    )


def _columns(loom: State, name: str, run: str | None) -> list[tuple[str, str]]:
    """Of a run's snapshot, as far as it is there."""
    import pyarrow.parquet as pq

    places = [] if run is None else loom.ledger.kept.places(name, run_id=run)
    for found in places:
        path = snapshot_folder(loom, name, found) / "transformed.parquet"
        if path.exists():
            return [(field.name, str(field.type)) for field in pq.read_schema(path)]
    return []


def _code(path: Path, root: Path) -> tuple[str, str]:
    inside = path.relative_to(root) if path.is_relative_to(root) else path
    return path.resolve().as_uri(), inside.as_posix()


def _nominal(loom: State, name: str, partition: str) -> tuple[datetime, datetime] | None:
    """Of a partition in time."""
    parts = loom.partitions(name) if partition and name in loom.project.files else None
    if not isinstance(parts, Calendar):
        return None
    try:
        span = parts.span(partition)
    except Misconfigured:  # of an earlier shape of the pipeline
        return None
    return span.start, span.end
