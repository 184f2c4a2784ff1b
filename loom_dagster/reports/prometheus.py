"""What runs came to as Prometheus reads it: its text format, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/: HELP and TYPE once a metric, its samples together, one a
label set. Gauges are of each pipeline's newest run; counters of all that have ended, from the ledger, so they go on
where they were whoever writes them. Trials are in neither.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from loom_dagster.ledger import PipelineTotals, RunNumbers, Standing
from loom_dagster.records import utf8
from loom_dagster.reports.standing import state_of
from loom_dagster.reports.trends import pass_rate_of

__all__ = ["exposition"]

_STATES = ("released", "succeeded", "held", "deferred", "open", "running", "failed", "superseded")
_RESULTS = ("passed", "quarantined", "deferred")


@dataclass(frozen=True, slots=True)
class _Metric:
    name: str
    type: Literal["gauge", "counter"]
    help: str
    samples: dict[tuple[tuple[str, str], ...], float] = field(default_factory=dict)

    def add(self, value: float | None, **labels: str) -> None:
        if value is not None and math.isfinite(value):
            self.samples[tuple(labels.items())] = value


def exposition(
    project: str, newest: Mapping[str, RunNumbers], standing: Standing, totals: Sequence[PipelineTotals]
) -> str:
    """``project`` is a label of every sample, so that the files of two projects can lie in one folder. ``newest``: the
    last run of each pipeline."""
    metrics = [*_last_runs(newest, standing), *_waiting(newest, standing), *_counters(totals)]
    lines: list[str] = []
    for metric in metrics:
        if metric.samples:
            lines += [f"# HELP {metric.name} {_escaped(metric.help)}", f"# TYPE {metric.name} {metric.type}"]
            lines += [
                _sample(metric.name, project, labels, value) for labels, value in metric.samples.items()
            ]
    return "".join(f"{line}\n" for line in lines)


def _last_runs(newest: Mapping[str, RunNumbers], standing: Standing) -> Iterator[_Metric]:
    state = _Metric("loom_last_run_state", "gauge", "1 for the state the newest run is in, 0 for the others.")
    started = _Metric("loom_last_run_started_timestamp_seconds", "gauge", "When the newest run began.")
    finished = _Metric("loom_last_run_finished_timestamp_seconds", "gauge", "When the newest run ended.")
    duration = _Metric("loom_last_run_duration_seconds", "gauge", "How long the newest run took.")
    records = _Metric("loom_last_run_records", "gauge", "Records of the newest run, by what became of them.")
    rate = _Metric(
        "loom_last_run_pass_rate",
        "gauge",
        "Share of the judged records of the newest run that passed, 0 to 1.",
    )
    cost = _Metric("loom_last_run_cost_usd", "gauge", "What the newest run paid for model calls, in USD.")
    latency = _Metric(
        "loom_last_run_latency_seconds", "gauge", "Seconds that paid calls of the transform took."
    )
    simulated = _Metric("loom_last_run_simulated", "gauge", "1 when an offline model made the answers up.")
    mean = _Metric("loom_last_run_score_mean", "gauge", "Mean score of an evaluator, 0 to 1.")
    reached = _Metric(
        "loom_last_run_score_pass_rate", "gauge", "Share of records that reached its threshold."
    )
    threshold = _Metric("loom_last_run_score_threshold", "gauge", "The threshold of an evaluator.")
    for name, run in newest.items():
        now = state_of(run, alive=(name, run.partition) in standing.running)
        for each in _STATES:
            state.add(float(each == now), pipeline=name, state=each)
        started.add(_unix(run.started_at), pipeline=name)
        finished.add(_unix(run.finished_at), pipeline=name)
        duration.add(run.metrics.get("seconds_total"), pipeline=name)
        for result in _RESULTS:
            records.add(run.metrics.get(result), pipeline=name, result=result)
        rate.add(pass_rate_of(run), pipeline=name)
        cost.add(run.metrics.get("cost"), pipeline=name)
        simulated.add(run.metrics.get("simulated"), pipeline=name)
        for p in ("p50", "p95", "p99"):
            latency.add(run.metrics.get(f"latency_{p}"), pipeline=name, percentile=p)
        for score in run.scores:
            of = {"pipeline": name, "evaluator": str(score["name"])}
            asked = score["passed"] + score["failed"] + score["errors"]
            mean.add(score["mean"], **of)
            reached.add(score["passed"] / asked if asked else None, **of)
            threshold.add(score["threshold"], **of)
    yield from (state, started, finished, duration, records, rate, cost, latency, simulated)
    yield from (mean, reached, threshold)


def _waiting(newest: Mapping[str, RunNumbers], standing: Standing) -> Iterator[_Metric]:
    quarantine = _Metric("loom_quarantine_open", "gauge", "Records in quarantine that nobody has resolved.")
    alerts = _Metric("loom_alerts_open", "gauge", "Alerts that are not over.")
    held = _Metric("loom_held_partitions", "gauge", "Partitions whose newest batch waits for a person.")
    for name in newest:
        quarantine.add(standing.quarantined.get(name, 0), pipeline=name)
        alerts.add(standing.alerts.get(name, 0), pipeline=name)
        held.add(len(standing.held.get(name, ())), pipeline=name)
    yield from (quarantine, alerts, held)


def _counters(totals: Sequence[PipelineTotals]) -> Iterator[_Metric]:
    runs = _Metric("loom_runs_total", "counter", "Runs that have ended, by how.")
    records = _Metric("loom_records_total", "counter", "Records that runs have read, by what became of them.")
    calls = _Metric("loom_calls_total", "counter", "Answers of models: paid for, or from the store.")
    tokens = _Metric("loom_tokens_total", "counter", "Tokens that were paid for.")
    cost = _Metric("loom_cost_usd_total", "counter", "What was paid for model calls, in USD.")
    perhaps = _Metric(
        "loom_cost_unconfirmed_usd_total",
        "counter",
        "Calls whose end is not known, at their worst price in USD.",
    )
    released = _Metric(
        "loom_last_released_timestamp_seconds", "gauge", "When the newest run ended whose batch is released."
    )
    for each in totals:
        name, sums = each.pipeline, each.sums
        for status, number in each.runs.items():
            runs.add(number, pipeline=name, status=status)
        for result in ("passed", "quarantined"):
            records.add(sums.get(result), pipeline=name, result=result)
        calls.add(sums.get("calls"), pipeline=name, source="paid")
        calls.add(sums.get("reused"), pipeline=name, source="stored")
        tokens.add(sums.get("input_tokens"), pipeline=name, direction="input")
        tokens.add(sums.get("output_tokens"), pipeline=name, direction="output")
        cost.add(each.spent, pipeline=name)
        perhaps.add(each.unconfirmed, pipeline=name)
        released.add(_unix(each.released_at), pipeline=name)
    yield from (runs, records, calls, tokens, cost, perhaps, released)


def _sample(name: str, project: str, labels: Sequence[tuple[str, str]], value: float) -> str:
    written = ",".join(f'{key}="{_quoted(text)}"' for key, text in (("project", project), *labels))
    number = str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
    return f"{name}{{{written}}} {number}"


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')


def _escaped(text: str) -> str:
    return str(utf8(text)).replace("\\", "\\\\").replace("\n", "\\n")


def _unix(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
