"""Spans of runs and model calls, as a collector gets them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from loom_dagster.assembly import Loom, telemetry
from loom_dagster.errors import Misconfigured
from loom_dagster.events import Note
from tests.journeys.project import Project
from tests.servers.inbox import inbox
from tests.servers.llm import LLMServer

SECRET = "the battery died after a week"


@pytest.fixture
def collector(monkeypatch):
    with inbox() as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=data")
        yield server


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path / "project")
    made.write("pyproject.toml", '[tool.loom]\nmodel = "offline/demo"\ntelemetry = "otlp"\n')
    made.reviews({"a": SECRET, "b": "lovely"})
    made.pipeline()
    return made


def values(attributes):
    kinds = {"stringValue": "string_value"}
    found = {}
    for each in attributes:
        kind = each.value.WhichOneof("value")
        value = getattr(each.value, kinds.get(kind, kind))
        found[each.key] = [v.string_value for v in value.values] if kind == "array_value" else value
    return found


def spans_of(collector):
    """(run spans, call spans, resource attributes)."""
    runs, calls, resource = [], [], {}
    for posted in collector.posted:
        assert posted.path == "/v1/traces" and posted.headers["x-team"] == "data"
        request = ExportTraceServiceRequest.FromString(posted.body)
        for each in request.resource_spans:
            resource |= values(each.resource.attributes)
            for span in (span for scope in each.scope_spans for span in scope.spans):
                (runs if span.name.startswith("loom.run") else calls).append(span)
    return runs, calls, resource


def test_a_run_is_a_span_and_each_call_one_below_it(project, collector):
    outcome = Loom.open(project.root, {}).run("classify")
    [run], calls, resource = spans_of(collector)
    told = values(run.attributes)
    assert resource["service.name"] == "loom"
    assert (run.name, told["loom.run_id"], told["loom.status"]) == (
        "loom.run classify",
        outcome.run_id,
        "succeeded",
    )
    assert (told["loom.records.extracted"], told["loom.records.passed"]) == (2, 2)
    assert len(calls) == 2
    for call in calls:
        assert (call.name, call.kind) == ("chat demo", Span.SPAN_KIND_CLIENT)
        assert (call.trace_id, call.parent_span_id) == (run.trace_id, run.span_id)
        assert run.start_time_unix_nano <= call.end_time_unix_nano <= run.end_time_unix_nano
        said = values(call.attributes)
        assert said["gen_ai.operation.name"] == "chat"
        assert said["gen_ai.provider.name"] == said["gen_ai.system"] == "offline"
        assert said["gen_ai.request.model"] == said["gen_ai.response.model"] == "demo"
        assert said["gen_ai.response.finish_reasons"] == ["stop"]
        assert said["gen_ai.usage.input_tokens"] > 0 and said["gen_ai.usage.output_tokens"] > 0
        assert (said["loom.purpose"], said["loom.simulated"]) == ("transform", True)


def test_nothing_of_prompts_answers_or_records_is_in_them(project, collector):
    Loom.open(project.root, {}).run("classify")
    assert collector.posted
    for posted in collector.posted:
        for word in (SECRET, "lovely", "Classify the review", "sentiment", "data/reviews"):
            assert word.encode() not in posted.body


def test_answers_from_the_store_are_no_calls(project, collector):
    loom = Loom.open(project.root, {})
    loom.run("classify")
    loom.run("classify")
    runs, calls, _ = spans_of(collector)
    assert (len(runs), len(calls)) == (2, 2)
    assert runs[0].trace_id != runs[1].trace_id


def test_a_call_that_failed_says_how_and_no_more(project, collector, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with LLMServer(poison={SECRET: "400"}) as server:
        project.pipeline(transform={"model": "openai/gpt-4o-mini", "api_base": server.base_url})
        outcome = Loom.open(project.root).run("classify")
    _, calls, _ = spans_of(collector)
    bad = [call for call in calls if call.status.code == Status.STATUS_CODE_ERROR]
    good = [call for call in calls if call not in bad]
    assert len(bad) == len(good) == 1 and outcome.counts.quarantined == 1
    said = values(bad[0].attributes)
    assert said["error.type"] == "bad_request" and said["gen_ai.request.model"] == "gpt-4o-mini"
    assert not bad[0].status.message and not bad[0].events
    assert values(good[0].attributes)["gen_ai.provider.name"] == "openai"
    assert good[0].end_time_unix_nano > good[0].start_time_unix_nano


def test_a_run_that_is_held_is_an_error_of_that_kind(project, collector):
    project.pipeline(
        evaluate={
            "evaluators": [{"name": "short", "type": "regex", "pattern": "never"}],
            "batch_threshold": 0.9,
        }
    )
    assert Loom.open(project.root, {}).run("classify").status == "held"
    [run], _, _ = spans_of(collector)
    assert run.status.code == Status.STATUS_CODE_ERROR and values(run.attributes)["error.type"] == "held"


def test_a_collector_that_refuses_costs_spans_and_nothing_else(project, collector):
    collector.answer = lambda posted: (400, {})
    notes = []
    loom = Loom.open(project.root, {})
    hear = lambda event: notes.append(event.text) if isinstance(event, Note) else None  # noqa: E731
    assert loom.run("classify", listen=hear).counts.passed == 2
    [said] = [text for text in notes if "spans" in text]
    assert "3 were refused" in said and "OTEL_EXPORTER_OTLP_ENDPOINT" in said
    notes.clear()
    assert loom.run("classify", listen=hear).counts.passed == 2
    assert notes == [], "said once"


def test_without_the_setting_nothing_is_imported_or_sent(project, collector):
    project.write("pyproject.toml", '[tool.loom]\nmodel = "offline/demo"\n')
    code = (
        "import sys, pathlib\nfrom loom_dagster.assembly import Loom\n"
        f"print(Loom.open(pathlib.Path({str(project.root)!r})).run('classify').counts.passed)\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    env = project.env | {"PYDANTIC_DISABLE_PLUGINS": "logfire-plugin"}  # as `loom` has it
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.split("\n")[:2] == ["2", "[]"]
    assert telemetry.watched(Loom.open(project.root, {}).settings) is telemetry.run


def test_the_environment_may_name_the_service(project, collector, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "reviews-etl")
    Loom.open(project.root, {}).run("classify")
    assert spans_of(collector)[2]["service.name"] == "reviews-etl"


def test_without_the_extra_it_says_which_command_installs_it(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    monkeypatch.delitem(sys.modules, "loom_dagster.assembly.spans", raising=False)
    with pytest.raises(Misconfigured, match=r"pip install 'loom-dagster\[otel\]'"):
        Loom.open(project.root, {}).run("classify")


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_BSP_MAX_QUEUE_SIZE", "-1")]
)
def test_an_environment_that_cannot_be_is_said_before_anything_is_asked(project, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match="OTEL_"):
        Loom.open(project.root, {}).run("classify")
    assert Loom.open(project.root, {}).ledger.runs("classify") == []


def test_another_word_is_refused(project):
    project.write("pyproject.toml", '[tool.loom]\ntelemetry = "jaeger"\n')
    with pytest.raises(Misconfigured, match="otlp"):
        Loom.open(project.root, {})
