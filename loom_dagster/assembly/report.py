"""What ``loom validate`` shows: a pipeline's parts in sections, each line with a tick or a cross."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from loom_dagster.alerts import routes_of
from loom_dagster.assembly.desk import asked_in_batches
from loom_dagster.assembly.model_problems import models_of
from loom_dagster.assembly.pieces import load_to_check, said_of
from loom_dagster.assembly.places import destination_place, source_place
from loom_dagster.assembly.prepared import Prepared
from loom_dagster.errors import Problem
from loom_dagster.extract import check_source
from loom_dagster.gateway import way_of
from loom_dagster.load import check_destination
from loom_dagster.monitors import rule
from loom_dagster.records import dollars
from loom_dagster.settings import Settings
from loom_dagster.spec import Pipeline, PipelineFile, is_stream

_PER = {"run": "a run", "day": "a day (UTC)", "month": "a month (UTC), for the whole project"}

__all__ = ["Line", "Report", "broken_report", "report", "try_connections"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that was checked. ``level``: ok, warning or error."""

    level: str
    text: str

    @property
    def ok(self) -> bool:
        return self.level != "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Sections in the order they are shown; every problem also stands in ``problems``. ``models``: how each
    is asked, by name."""

    pipeline: str
    version: str | None
    sections: Mapping[str, Sequence[Line]]
    models: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[Problem] = field(default_factory=tuple)

    @property
    def ok(self) -> bool:
        return not any(p.level == "error" for p in self.problems)


def broken_report(name: str, problems: Sequence[Problem]) -> Report:
    """Of a file that could not be understood: its problems."""
    lines = [Line(level=p.level, text=str(p)) for p in problems]
    return Report(
        pipeline=name, version=None, sections={"Pipeline Definition": lines}, problems=tuple(problems)
    )


def report(
    ready: Prepared,
    *,
    connections: Sequence[Problem] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Report:
    """Of a prepared pipeline. ``connections``: what trying source and destination found, if it was tried."""
    spec, prompt = ready.spec, ready.prompt
    sections: dict[str, list[Line]] = {
        "Pipeline Definition": [_ok("YAML syntax valid"), _ok("Required fields present")],
        "Prompts": [],
        "Context": [],
        "Models": [],
        "Evaluators": [],
        "Source": [],
        "Partitions": [],
        "Destination": [],
        "Execution": [_ok(str(ready.execution))],
        "Budgets": [_ok(f"{dollars(usd)} {_PER[name]}") for name, usd in ready.budgets.limits().items()],
        "Monitors": [_ok(f"{name}: {rule(monitor)}") for name, monitor in spec.monitoring.monitors().items()],
        "Alerts": _alerts(ready),
    }
    if prompt is not None:
        sections["Prompts"] = [
            _ok(f"{prompt.path.name} ({prompt.version})"),
            _ok(f"reads {', '.join(sorted(prompt.columns)) or 'no column'}"),
        ]
        sections["Context"] = [_ok(f"{name} ({version})") for name, version in prompt.contexts.items()]
    if ready.schema is not None:
        sections["Prompts"].append(_ok(f"output: {', '.join(ready.schema.arrow.names)}"))
    ways: dict[str, str] = {}
    for role, model in models_of(ready):  # the first role names a model that has several
        way = way_of(model, environ, ready.prices)
        if way is not None and model.name not in ways:
            ways[model.name] = way
            named = model.name if role == "transform" else f"{model.name} ({role})"
            batched = ", in batches" if role == "transform" and asked_in_batches(ready) else ""
            sections["Models"].append(_ok(f"{named}: {ways[model.name]}{batched}"))
    sections["Evaluators"] = [
        _ok(f"{e.name}: {e.type}, threshold {e.threshold:g}") for e in spec.evaluate.evaluators
    ] or [_ok("none: a record passes once its output fits the schema")]
    if ready.source is not None:
        sections["Source"] = [_ok(_source(spec, len(ready.source.schema.names)))]
    if ready.now is not None:
        sections["Partitions"] = [_ok(text) for text in said_of(spec, ready.now)]
    sections["Destination"] = [_ok(spec.load.destination)]
    problems = [*ready.problems, *(connections or ())]
    for problem in problems:
        sections[_section(problem, ready.file)].append(Line(level=problem.level, text=str(problem)))
    if connections is not None and not connections:
        sections["Source"].append(_ok("reachable"))
        sections["Destination"].append(_ok("writable"))
    return Report(
        pipeline=spec.name,
        version=spec.version,
        sections={name: lines for name, lines in sections.items() if lines},
        models=ways,
        problems=tuple(problems),
    )


def _source(spec: Pipeline, columns: int) -> str:
    unknown = not columns and is_stream(spec.extract.source)
    what = "a stream; it is checked with its first messages" if unknown else f"{columns} columns"
    hidden = f"; redacted: {', '.join(spec.extract.redact)}" if spec.extract.redact else ""
    return f"{spec.extract.source}: {what}{hidden}"


def _alerts(ready: Prepared) -> list[Line]:
    """Who hears of what; a channel without its secret is a warning here, and no reason not to run."""
    routes, channels = routes_of(ready.settings, ready.spec), ready.settings.channels
    lines = [_ok(f"{route.type}: {', '.join(route.channels)}") for route in routes]
    for name in dict.fromkeys(name for route in routes for name in route.channels):
        if channels[name].missing is not None:
            what = f"channel `{name}`: {channels[name].missing} is not in the environment; what waits for it is kept"
            lines.append(Line(level="warning", text=what))
    return lines


def try_connections(ready: Prepared, settings: Settings) -> list[Problem]:
    """What trying the source and the destination finds; nothing is written."""
    where = ready.file.where
    source, destination = (
        source_place(ready.spec, settings, ready.partition),
        destination_place(ready.spec, settings),
    )
    return [
        *check_source(
            ready.spec.extract, source, where=lambda *loc: where("extract", *loc), connections=True
        ),
        *check_destination(
            load_to_check(ready.spec), destination, where=lambda *loc: where("load", *loc), connections=True
        ),
    ]


def _ok(text: str) -> Line:
    return Line(level="ok", text=text)


def _section(problem: Problem, file: PipelineFile) -> str:
    """By where the problem is: the block of the YAML, or another file than the YAML."""
    where = problem.where or ""
    if where.startswith("prompts/"):
        return "Prompts"
    if where.startswith("context/"):
        return "Context"
    if where == "[tool.loom.execution]":
        return "Execution"
    line = where.rpartition(":")[2]
    if not line.isdigit():
        return "Pipeline Definition"
    starts = {
        "Source": file.line("extract"),
        "Prompts": file.line("transform"),
        "Evaluators": file.line("evaluate"),
        "Destination": file.line("load"),
    }
    if "monitoring" in file.spec.model_fields_set:
        starts["Budgets"] = file.line("monitoring")
    if file.spec.execution is not None:
        starts["Execution"] = file.line("execution")
    before = {name: start for name, start in starts.items() if start <= int(line)}
    return max(before, key=lambda name: before[name]) if before else "Pipeline Definition"
