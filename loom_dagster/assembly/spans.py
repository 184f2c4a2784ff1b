"""A run and its model calls as OpenTelemetry spans, by the conventions for generative AI.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/. Never what was asked or answered, nor whose record it
was. Where they go is said by the environment (OTEL_EXPORTER_OTLP_ENDPOINT, ..._HEADERS), over HTTP. A collector that is
away costs a process three seconds at most: spans are dropped, never waited for.
"""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, set_span_in_context

from loom_dagster.errors import LoomError, Misconfigured, OverBudget
from loom_dagster.events import Event, Listener, Note, RunStarted
from loom_dagster.gateway import Asks, Question
from loom_dagster.pipeline import Outcome, Plan
from loom_dagster.records import Answer

__all__ = ["traced"]

_SECONDS = 3.0  # for what is left when a run ends
_PROVIDERS = {  # as the conventions call them
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "xai": "x_ai",
}


def traced(run: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """``run`` with spans. Raises Misconfigured for an environment that says what cannot be."""
    pipe = _pipe(tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith("OTEL_"))))

    def run_traced(plan: Plan, *args: Any, listen: Listener, **how: Any) -> Outcome:
        span = pipe.tracer.start_span(f"loom.run {plan.pipeline}")
        span.set_attributes(_of_plan(plan))

        def hear(event: Event) -> None:
            if isinstance(event, RunStarted):
                span.set_attributes({"loom.run_id": event.run_id, "loom.resumed": event.resumed})
            listen(event)

        try:
            calls = _Calls(pipe.tracer, set_span_in_context(span))
            outcome = run(replace(plan, gateway=_watched(plan, calls)), *args, listen=hear, **how)
            span.set_attributes(_of_outcome(outcome))
            if outcome.exit_code:
                _failed(span, outcome.stopped_kind or outcome.status)
        except BaseException as error:
            _failed(span, error.kind if isinstance(error, LoomError) else type(error).__name__)
            raise
        finally:
            span.end()
            if said := pipe.flush():
                listen(Note(pipeline=plan.pipeline, text=said))
        return outcome

    return run_traced


class _Calls:
    """Makes the spans of model calls, which are children of the run's."""

    def __init__(self, tracer: Tracer, parent: Any) -> None:
        self._tracer, self._parent = tracer, parent

    def answered(self, question: Question, answer: Answer) -> None:
        if answer.reused:
            return  # nobody was called
        now = time.time_ns()  # the clock that OpenTelemetry itself reads
        span = self._start(question, answer.model, now - int(answer.latency * 1e9))
        _, model = _named(answer.model)
        span.set_attributes(
            {
                "gen_ai.response.model": model,
                "gen_ai.response.finish_reasons": (answer.finish,),
                "gen_ai.usage.input_tokens": answer.usage.input_tokens,
                "gen_ai.usage.output_tokens": answer.usage.output_tokens,
                "loom.simulated": answer.simulated,
            }
        )
        if answer.cost is not None:
            span.set_attribute("loom.cost_usd", answer.cost)
        span.end(end_time=now)

    def failed(self, question: Question, error: LoomError, began: int) -> None:
        span = self._start(question, question.model.name, began)
        _failed(span, error.kind)
        span.end()

    def _start(self, question: Question, name: str, began: int) -> Any:
        provider, model = _named(name)
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider,
            "gen_ai.system": provider,  # what it was called before, which many backends still read
            "gen_ai.request.model": model,
            "gen_ai.request.max_tokens": question.model.max_tokens,
            "loom.pipeline": question.origin.pipeline,
            "loom.purpose": question.origin.purpose,
        }
        if question.model.temperature is not None:
            attributes["gen_ai.request.temperature"] = question.model.temperature
        return self._tracer.start_span(
            f"chat {model}",
            context=self._parent,
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=began,
        )


def _watched(plan: Plan, calls: _Calls) -> Callable[..., AbstractAsyncContextManager[Asks]]:
    """The plan's gateway, which tells ``calls`` as well."""

    @asynccontextmanager
    async def opened(
        listen: Callable[[Question, Answer], None], note: Any, spend: Any
    ) -> AsyncIterator[Asks]:
        def heard(question: Question, answer: Answer) -> None:
            calls.answered(question, answer)
            listen(question, answer)

        async with plan.gateway(heard, note, spend) as asks:
            yield _Asking(asks, calls)

    return opened


@dataclass(frozen=True, slots=True)
class _Asking:
    asks: Asks
    calls: _Calls

    async def ask(self, question: Question) -> Answer:
        began = time.time_ns()
        try:
            return await self.asks.ask(question)
        except LoomError as error:
            # a refused answer was heard already, and over budget nobody was called
            if not error.answers and not isinstance(error, OverBudget):
                self.calls.failed(question, error, began)
            raise


class _Counting(SpanExporter):
    """Counts what did not arrive."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter, self.lost = exporter, 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            if result is not SpanExportResult.SUCCESS:
                self.lost += len(spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Pipe:
    """Where spans go: one batch exporter a process, with a thread of its own."""

    def __init__(self) -> None:
        version = importlib.metadata.version("loom-dagster")
        named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        )
        name = {} if named else {"service.name": "loom"}
        self._provider = TracerProvider(
            resource=Resource.create({**name, "loom.version": version}), shutdown_on_exit=False
        )
        self._exporter = _Counting(OTLPSpanExporter())
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._given_up = False
        self.tracer = self._provider.get_tracer("loom_dagster", version)

    def flush(self) -> str:
        """Send what is left, a short time at most; gives what people should know, once. Where that did not help before,
        nobody waits for it again."""
        if self._given_up:
            return ""
        sending = threading.Thread(target=self._provider.force_flush, name="loom-spans", daemon=True)
        sending.start()
        sending.join(_SECONDS)
        self._given_up = sending.is_alive() or self._exporter.lost > 0
        if not self._given_up:
            return ""
        how = (
            f"{self._exporter.lost:,} were refused"
            if self._exporter.lost
            else f"no answer for {_SECONDS:.0f} s"
        )
        return f"spans are not delivered ({how}); see OTEL_EXPORTER_OTLP_ENDPOINT. The run is none the worse for it"


@functools.cache
def _pipe(environment: tuple[tuple[str, str], ...]) -> _Pipe:
    # what the exporter has to say is told once, at the end of a run, and not on stderr for every batch
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    said = dict(environment)
    protocol = said.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or said.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", "http/protobuf"):
        raise Misconfigured(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is `{protocol}`",
            why="spans are sent as http/protobuf",
            fix="leave it out, and name the collector's HTTP port (usually 4318)",
        )
    try:
        return _Pipe()
    except ValueError as error:
        raise Misconfigured("an OTEL_ variable of the environment cannot be used", why=str(error)) from error


def _named(model: str) -> tuple[str, str]:
    """Provider and model of litellm's name."""
    provider, slash, name = model.partition("/")
    return (_PROVIDERS.get(provider, provider), name) if slash else ("openai", model)


def _of_plan(plan: Plan) -> Mapping[str, Any]:
    attributes = {
        "loom.pipeline": plan.pipeline,
        "loom.pipeline.version": plan.version,
        "loom.partition": plan.shown_partition or None,
        "loom.trial": plan.trial,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _of_outcome(outcome: Outcome) -> Mapping[str, Any]:
    counts, rate = outcome.counts, outcome.verdict.pass_rate
    return {
        "loom.status": outcome.status,
        "loom.released": outcome.released,
        "loom.records.extracted": counts.extracted,
        "loom.records.passed": counts.passed,
        "loom.records.quarantined": counts.quarantined,
        "loom.records.deferred": counts.deferred,
        "loom.cost_usd": outcome.spending.total,
        **({} if rate is None else {"loom.pass_rate": rate}),
    }


def _failed(span: Any, kind: str) -> None:
    """Without a description: messages may quote what a record holds."""
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))
