from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import jsonschema_rs
import pytest

from loom_dagster.spec import json_schema, load_mode, read_yaml, resolve

EXAMPLES = Path(__file__).parent / "examples"  # as the project's founding documents have them
CUSTOMER_SENTIMENT, NORMATIVE, RAG, SHORT = (
    (EXAMPLES / f"{name}.yaml").read_text() for name in ("customer_sentiment", "normative", "rag", "short")
)
BASE = "name: x\nextract: {{source: a{extract}}}\ntransform: {{prompt: p{transform}}}\nload: {{destination: b{load}}}\n{more}"


def text(extract="", transform="", load="", more=""):
    return BASE.format(extract=extract, transform=transform, load=load, more=more)


def test_the_seeds_short_example_loads_as_written(spec_of):
    spec = spec_of(SHORT)
    assert [e.name for e in spec.evaluate.evaluators] == ["semantic", "custom_criteria"]
    assert spec.version == "2.1.0"
    assert spec.transform.batch_size == 50


def test_the_seeds_full_example_loads_as_written(spec_of):
    spec = spec_of(CUSTOMER_SENTIMENT)
    assert spec.extract.query.startswith("SELECT")
    assert spec.transform.model_version == "2024-07-18"
    assert spec.transform.cache.ttl == timedelta(days=7)
    assert spec.evaluate.evaluators[0].reference_field == "expected_sentiment"
    assert spec.evaluate.evaluators[1].threshold == 0.75
    assert [f.type for f in spec.load.schema_.values()] == ["string", "float", "string"]


def test_the_seeds_rag_example_is_refused_with_the_fix(problems_of):
    found = problems_of(RAG)
    assert [problem.split(": ")[0] for problem in found] == [f"pipelines/x.yaml:{n}" for n in (5, 7)]
    assert "{{ input.retrieved_documents }}" in found[1]


def test_config_flat_preset_and_list_mean_the_same(spec_of):
    flat = spec_of(
        text(more="evaluate: {evaluators: [{type: custom_criteria, criteria: c, threshold: 0.5}]}")
    )
    nested = spec_of(text(more="evaluate: [{type: custom_criteria, config: {criteria: c, threshold: 0.5}}]"))
    assert flat.evaluate == nested.evaluate
    presets = spec_of(
        text(more="evaluate: [no_hallucination, {type: completeness, threshold: 0.9}]")
    ).evaluate
    assert [(e.name, e.type) for e in presets.evaluators] == [
        ("no_hallucination", "custom_criteria"),
        ("completeness", "custom_criteria"),
    ]
    assert all(e.criteria for e in presets.evaluators)


def test_the_gate_may_stand_under_load(spec_of):
    spec = spec_of(text(load=", quality_gate: any_pass", more="evaluate: [semantic]"))
    assert spec.evaluate.quality_gate.type == "any_pass"
    with_both = text(load=", quality_gate: any_pass", more="evaluate: {quality_gate: any_pass}")
    assert spec_of(with_both).evaluate.quality_gate.type == "any_pass"


def test_two_different_gates_are_refused(problems_of):
    found = problems_of(text(load=", quality_gate: any_pass", more="evaluate: {quality_gate: all_pass}"))
    assert "keep one" in found[0]


def test_texts_keep_their_spelling_where_a_text_is_meant(spec_of):
    spec = spec_of(
        text(load=", schema: {v: {type: string, enum: [2.10, yes, 0123]}, n: {type: int, enum: [1]}}")
    )
    assert spec.load.schema_["v"].enum == ("2.10", "yes", "0123")
    assert spec.load.schema_["n"].enum == (1,)
    assert spec_of("version: 2.10\n" + text()).version == "2.10"


def test_one_or_many(spec_of):
    assert spec_of(text(extract=", key: id")).extract.key == ("id",)
    assert spec_of(text(extract=", key: [a, b]")).extract.key == ("a", "b")
    assert spec_of(text(transform=", timeout: 30")).transform.timeout.total == 30
    assert spec_of(text(load=", columns: all")).load.columns == "all"
    assert spec_of(text(load=", columns: [a]")).load.columns == ("a",)


@pytest.mark.parametrize(
    ("extract", "load", "mode"),
    [("", "", "append"), (", key: id", "", "upsert"), (", key: id", ", mode: append", "append")],
)
def test_the_load_mode_is_upsert_where_there_is_a_key(spec_of, extract, load, mode):
    assert load_mode(spec_of(text(extract=extract, load=load))) == mode


@pytest.mark.parametrize(
    "document",
    [
        CUSTOMER_SENTIMENT,
        NORMATIVE,
        SHORT,
        text(more="evaluate: [semantic, no_hallucination, {type: completeness}]"),
        text(load=", quality_gate: any_pass, schema: {a: int, b: {type: array, items: bool}}"),
        text(extract=", key: [a, b]", transform=", timeout: 30, context: a.md"),
        "version: 2.10\n" + text(more="evaluate: {quality_gate: {type: weighted, threshold: 0.5}}"),
    ],
)
def test_editors_accept_every_spelling_that_loads(document):
    validator = jsonschema_rs.validator_for(json_schema())
    tree = resolve(read_yaml(document, file="x").tree)
    assert [error.message for error in validator.iter_errors(tree)] == []


@pytest.mark.parametrize(
    "document",
    [
        text(more="evalute: [semantic]"),
        text(more="evaluate: [semantik]"),
        text(more="evaluate: [{type: semantic, config: {treshold: 1}}]"),
        text(load=", mode: upsrt"),
        text(load=", schema: {a: flot}"),
        text(transform=", cache: {ttl: seven}"),
    ],
)
def test_editors_refuse_what_does_not_load(document):
    assert not jsonschema_rs.validator_for(json_schema()).is_valid(
        resolve(read_yaml(document, file="x").tree)
    )
