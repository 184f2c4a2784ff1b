"""What one field says about another: checks that a single model cannot make.

Only what a pipeline's own file shows; what needs the source, the prompt or a model is checked by the
room that reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from loom_dagster.channels import ALERT_TYPES, MONITORS
from loom_dagster.spec.findings import Finding, nearest
from loom_dagster.spec.models import Extract, FieldSpec, Pipeline, QualityThreshold, ScoreDegradation
from loom_dagster.spec.places import is_stream, names_partition, upstream_name
from loom_dagster.spec.reader import Document
from loom_dagster.spec.redacting import check_redaction
from loom_dagster.spec.watching import why_unwatched

__all__ = ["check_spec"]

_REFERENCES = ("reference_field", "sources_field", "query_field")
_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_STORES = ("file", "s3", "gs", "az")
_LOOKED_AT = ("output_field", "field")


def check_spec(spec: Pipeline, document: Document) -> list[Finding]:
    """Everything that can be said of a pipeline from its own file."""
    findings = [
        *_load(spec, document),
        *_incremental(spec, document),
        *_partitions(spec, document),
        *_stream(spec, document),
        *check_redaction(spec, document),
        *_trigger(spec, document),
        *_references(spec, document),
        *_monitors(spec, document),
        *_alerts(spec, document),
    ]
    if spec.load.schema_ is not None:
        findings += _looked_at(spec, spec.load.schema_, document)
        findings += _fallback(spec, spec.load.schema_, document)
    return findings


def _load(spec: Pipeline, document: Document) -> Iterator[Finding]:
    load = spec.load
    if load.mode == "upsert" and not spec.extract.key:
        line = document.line("load", "mode")
        yield Finding(line, "`load.mode: upsert` needs a key", "name the key column(s) in `extract.key`")
    if load.on_failure == "fallback" and load.fallback is None and not _may_be_documents(spec.extract):
        line = document.line("load", "on_failure")
        fix = "add `load.fallback` with `model: NAME`, `values: {column: value}` or `summary: {of: column}`, or use quarantine"
        yield Finding(line, "`on_failure: fallback` does not say what to fall back to", fix)
    if load.fallback is not None and load.on_failure != "fallback":
        line = document.line("load", "fallback")
        what = f"`load.fallback` is never used, because `on_failure` is {load.on_failure}"
        yield Finding(line, what, "write `on_failure: fallback`, or remove it")


def _stream(spec: Pipeline, document: Document) -> Iterator[Finding]:
    if not is_stream(spec.extract.source):
        if spec.extract.stream is not None:
            what = "`extract.stream` belongs to a redis:// or kafka:// source"
            yield Finding(document.line("extract", "stream"), what, "remove it")
    elif spec.load.mode == "overwrite":
        what = "`load.mode: overwrite` would leave the last few messages of a stream only"
        yield Finding(document.line("load", "mode"), what, "append, or upsert by `extract.key`")


def _trigger(spec: Pipeline, document: Document) -> Iterator[Finding]:
    if spec.trigger is None:
        return
    if spec.trigger.cron is not None and is_stream(spec.extract.source):
        what = "`trigger.cron`: a stream does not end, so nothing runs it at a time"
        yield Finding(document.line("trigger", "cron"), what, "use `loom stream`, without `trigger`")
    if "new_data" in spec.trigger.on and (found := why_unwatched(spec.extract)):
        why, fix = found
        what = f"`trigger.on: new_data`: {spec.extract.source.partition('?')[0]} cannot be watched: {why}"
        yield Finding(document.line("trigger", "on"), what, fix)


def _incremental(spec: Pipeline, document: Document) -> Iterator[Finding]:
    extract, line = spec.extract, document.line("extract", "incremental")
    if extract.incremental is None:
        return
    if extract.partitions is not None:
        yield Finding(line, "`partitions` and `incremental` exclude each other", "remove one of them")
    if extract.limit is not None:
        what = "`limit` with `incremental` would pass over the rows it leaves out"
        yield Finding(document.line("extract", "limit"), what, "remove one of them")
    if spec.load.mode == "overwrite":
        what = "`load.mode: overwrite` would leave the newest rows only, as `incremental` reads no others"
        yield Finding(document.line("load", "mode"), what, "append, or upsert with a key")


def _partitions(spec: Pipeline, document: Document) -> Iterator[Finding]:
    extract, block = spec.extract, spec.extract.partitions
    asked = set(_PLACEHOLDER.findall(extract.query or ""))
    by_place = names_partition(extract.source)
    if block is None:
        without = [("source", by_place), ("query", bool(asked & {"partition", "partition_end"}))]
        for key in (name for name, speaks in without if speaks):
            what = f"`extract.{key}` speaks of partitions, and there are none"
            yield Finding(document.line("extract", key), what, "say what they are in `extract.partitions`")
        return
    if _one_file(spec.load.destination):
        what = "one file cannot be loaded partition by partition: nothing tells whose rows are whose"
        fix = "load into a folder, in which each partition has a file: end it with a slash"
        yield Finding(document.line("load", "destination"), what, fix)
    told = (
        bool(block.column) or by_place or "partition" in asked or {"execution_date", "partition_end"} <= asked
    )
    line = document.line("extract", "partitions")
    if is_stream(extract.source):
        yield Finding(line, "a stream is consumed as it comes, and has no partitions", "remove `partitions`")
    elif block.every is not None and "execution_date" in asked and not told:
        what = "`extract.query` asks where a partition begins and not where it ends, so each would read all later ones"
        fix = "add `AND ... < {{ partition_end }}` to it, or name the column in `extract.partitions.column`"
        yield Finding(document.line("extract", "query"), what, fix)
    elif not told and upstream_name(extract.source) is None:  # else each reads that of the other pipeline
        what = "nothing tells the rows of one partition from those of another"
        fix = "name the column that does in `extract.partitions.column`, or put {{ partition }} into the source or query"
        yield Finding(line, what, fix)


def _monitors(spec: Pipeline, document: Document) -> Iterator[Finding]:
    """Monitors of scores need an evaluator that gives some."""
    known = [e.name for e in spec.evaluate.evaluators]
    for name, monitor in spec.monitoring.monitors().items():
        if not isinstance(monitor, QualityThreshold | ScoreDegradation):
            continue
        if not known:
            what = f"`monitoring.{name}` watches over scores, and there is no evaluator"
            yield Finding(document.line("monitoring", name), what, "add one under `evaluate`, or remove it")
        elif monitor.evaluator is not None and monitor.evaluator not in known:
            what = f"`monitoring.{name}.evaluator` is `{monitor.evaluator}`, which no evaluator is called"
            fix = nearest(monitor.evaluator, known)
            yield Finding(document.line("monitoring", name, "evaluator"), what, fix)


def _one_file(destination: str) -> bool:
    scheme, _, rest = destination.rpartition("://")
    return scheme in ("", *_STORES) and "." in rest.rpartition("/")[2]


def _may_be_documents(extract: Extract) -> bool:
    """Whether these are documents, whose fallback is a summary, only the place itself can tell: a folder."""
    if extract.format is not None:
        return extract.format == "documents"
    scheme, _, rest = extract.source.rpartition("://")
    return scheme in ("", *_STORES) and "." not in rest.rstrip("/").rpartition("/")[2] and "*" not in rest


def _references(spec: Pipeline, document: Document) -> Iterator[Finding]:
    outputs = spec.load.schema_ or {}
    for loc, key, name in _names(spec, _REFERENCES):
        line = document.line(*loc)
        if name.startswith("input."):
            what = f"`{key}` is the name of a column, without `input.`"
            yield Finding(line, what, f"write `{name.removeprefix('input.')}`")
        elif name in outputs:
            what = f"`{key}: {name}` is a column of the output; a reference is a column of the source"
            yield Finding(line, what, "name the source's column")


def _looked_at(spec: Pipeline, fields: Mapping[str, FieldSpec], document: Document) -> Iterator[Finding]:
    for loc, key, name in _names(spec, _LOOKED_AT):
        if name not in fields:
            what = f"`{key}: {name}` is not in `load.schema`"
            yield Finding(document.line(*loc), what, nearest(name, fields))


def _fallback(spec: Pipeline, fields: Mapping[str, FieldSpec], document: Document) -> Iterator[Finding]:
    values = spec.load.fallback.values if spec.load.fallback else None
    if values is None:
        return
    for name in values:
        if name not in fields:
            line = document.line("load", "fallback", "values", name)
            yield Finding(line, f"`load.fallback` sets `{name}`, not in `load.schema`", nearest(name, fields))
    for name, field in fields.items():
        if name not in values and not field.nullable:
            line = document.line("load", "fallback", "values")
            fix = f"add it, or write `nullable: true` for `{name}`"
            yield Finding(line, f"`load.fallback` has no `{name}`, which must not be null", fix)


def _alerts(spec: Pipeline, document: Document) -> Iterator[Finding]:
    """Which channels there are, the project says."""
    known = {*ALERT_TYPES, *(e.name for e in spec.evaluate.evaluators)}
    for index, alert in enumerate(spec.monitoring.alerts):
        line = document.line("monitoring", "alerts", index, "type")
        if alert.type not in known:
            yield Finding(line, f"`{alert.type}` is nothing that alerts tell of", nearest(alert.type, known))
        elif alert.threshold is not None and alert.type not in MONITORS:
            what = f"a threshold for `{alert.type}` would be a second one beside its own"
            yield Finding(line, what, "remove it here, or change it where the gate or the evaluator has it")


def _names(spec: Pipeline, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """Every evaluator's option among ``keys``: (loc, option, the column it names)."""
    for index, evaluator in enumerate(spec.evaluate.evaluators):
        for key in keys:
            name = getattr(evaluator, key, None)
            if name is not None:
                yield ("evaluate", "evaluators", index, key), key, name
