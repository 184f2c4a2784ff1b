from __future__ import annotations

import pytest

HEAD = "name: x\nextract: {source: a.csv, key: id}\ntransform: {prompt: p}\n"
GOOD = HEAD + "load: {destination: b}\n"


def test_a_good_pipeline_has_none(problems_of):
    assert problems_of(GOOD) == []


def test_every_problem_comes_at_once_each_with_line_and_nearest_word(problems_of):
    found = problems_of(
        """\
        name: x
        extract: {sorce: a.csv}
        transform:
          prompt: p
          temperature: hot
          timeout: {conect: 1}
        evaluate:
          evaluators:
            - {type: semantik}
            - type: semantic
              threshold: 85
            - type: custom_criteria
              config: {criterio: abc}
            - factualty
          quality_gate: al_pass
        load:
          destination:
          mode: upsrt
          schema: {a: flot}
        modell: x
        """
    )
    assert found == [
        "pipelines/x.yaml:2: `extract.source` is missing",
        "pipelines/x.yaml:2: unknown key `sorce` in `extract` (did you mean `source`?)",
        "pipelines/x.yaml:5: `transform.temperature` must be a number, it is `hot`",
        "pipelines/x.yaml:6: unknown key `conect` in `transform.timeout` (did you mean `connect`?)",
        (
            "pipelines/x.yaml:9: `evaluate.evaluators[0].type` is `semantik`, which no evaluator is called "
            "(did you mean `semantic`?)"
        ),
        "pipelines/x.yaml:11: `evaluate.evaluators[1].threshold` must be between 0 and 1, it is `85`",
        "pipelines/x.yaml:12: `evaluate.evaluators[2].criteria` is missing",
        "pipelines/x.yaml:13: unknown key `criterio` in `evaluate.evaluators[2]` (did you mean `criteria`?)",
        (
            "pipelines/x.yaml:14: `evaluate.evaluators[3].type` is `factualty`, which no evaluator is called "
            "(did you mean `factuality`?)"
        ),
        "pipelines/x.yaml:15: `evaluate.quality_gate.type` is `al_pass` (did you mean `all_pass`?)",
        "pipelines/x.yaml:17: `load.destination` is empty (give it a value or remove the line)",
        "pipelines/x.yaml:18: `load.mode` is `upsrt` (did you mean `upsert`?)",
        "pipelines/x.yaml:19: `load.schema.a.type` is `flot` (did you mean `float`?)",
        (
            "pipelines/x.yaml:20: unknown key `modell` (known: description, evaluate, execution, extract, group, kinds, "
            "load, monitoring, name, owners, tags, transform, trigger, version)"
        ),
    ]


def test_ten_thousand_unknown_keys_are_counted_not_listed(problems_of):
    found = problems_of(GOOD + "".join(f"key{n}: 1\n" for n in range(10_000)))
    assert len(found) == 21
    assert found[0].startswith("pipelines/x.yaml:5: unknown key `key0`")
    assert found[-1].startswith("pipelines/x.yaml: and 9,980 more")


def test_a_key_in_the_wrong_block_is_sent_home(problems_of):
    assert "(`on_failure` belongs under `load`)" in problems_of(GOOD + "on_failure: skip\n")[0]
    assert "(`model` belongs under `transform` or `evaluate`)" in problems_of(GOOD + "model: m\n")[0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("transform: abc", "`transform` must be a mapping (`key: value` lines), it is `abc`"),
        ("transform: {prompt: p, batch_size: 0}", "must be between 1 and 1,000,000, it is `0`"),
        ("transform: {prompt: p, max_tokens: 1.5}", "`transform.max_tokens` must be a whole number"),
        ("transform: {prompt: p, temperature: .nan}", "`transform.temperature` must be"),
        ("transform: {prompt: p, cache: {enabled: perhaps}}", "must be true or false, it is `perhaps`"),
        ("transform: {prompt: p, cache: {ttl: 7 days}}", "`7 days` is not a duration"),
        ("transform: {prompt: p, context: {a: b}}", "`transform.context` must be a list, it is a mapping"),
        ("transform:", "`transform` is empty"),
    ],
)
def test_types_are_named_in_plain_words(problems_of, line, message):
    found = problems_of(f"name: x\nextract: {{source: a}}\n{line}\nload: {{destination: b}}\n")
    assert len(found) == 1
    assert message in found[0]
    assert found[0].startswith("pipelines/x.yaml:3:")


def test_missing_blocks_are_named(problems_of):
    assert problems_of("name: x\n") == [
        "pipelines/x.yaml:1: `extract` is missing",
        "pipelines/x.yaml:1: `transform` is missing",
        "pipelines/x.yaml:1: `load` is missing",
    ]


def test_a_duplicate_key_and_a_wrong_value_are_both_reported(problems_of):
    found = problems_of(GOOD.replace("name: x", "name: x\nname: y") + "evaluate: {batch_threshold: 2}\n")
    assert [line.split(": ")[0] for line in found] == ["pipelines/x.yaml:2", "pipelines/x.yaml:6"]


def test_an_unknown_key_does_not_hide_what_is_wrong_between_fields(problems_of):
    found = problems_of(
        "name: x\nextract: {source: a, kee: 1}\ntransform: {prompt: p}\nload: {destination: b, mode: upsert}\n"
    )
    assert len(found) == 2
    assert "needs a key" in found[1]


@pytest.mark.parametrize(
    ("load", "message"),
    [
        ("{destination: b, on_failure: fallback}", "does not say what to fall back to"),
        ("{destination: b, fallback: {model: m}}", "`load.fallback` is never used"),
        ("{destination: b, on_failure: fallback, fallback: {}}", "exactly one of `model`, `values`"),
        (
            "{destination: b, on_failure: fallback, fallback: {values: {mod: x}}, schema: {mood: string}}",
            "did you mean `mood`?",
        ),
        (
            "{destination: b, on_failure: fallback, fallback: {values: {a: x}}, schema: {a: string, b: string}}",
            "has no `b`, which must not be null",
        ),
        ("{destination: b, schema: {_loom_run: string}}", "named like ours"),
        ("{destination: b, schema: {a: {type: string, enum: [x, null]}}}", "write `nullable: true`"),
        ("{destination: b, schema: {a: {type: integer, enum: [x]}}}", "`x` in `enum` is not of type integer"),
        (
            "{destination: b, schema: {a: {type: string, minimum: 1}}}",
            "`minimum` belongs to integer or float",
        ),
        ("{destination: b, schema: {a: {type: float, minimum: 2, maximum: 1}}}", "`minimum` 2 is greater"),
        ("{destination: b, schema: {}}", "`load.schema` must be a list with something in it"),
    ],
)
def test_fields_that_contradict_each_other(problems_of, load, message):
    found = problems_of(HEAD + f"load: {load}\n")
    assert any(message in problem for problem in found), found


@pytest.mark.parametrize(
    ("evaluator", "message"),
    [
        ("{type: exact_match, reference_field: expected, output_field: mod}", "(did you mean `mood`?)"),
        ("{type: exact_match, reference_field: input.expected}", "(write `expected`)"),
        ("{type: exact_match, reference_field: mood}", "`reference_field: mood` is a column of the output"),
        (
            "{type: semantic, config: {threshold: 0.5}, threshold: 0.6}",
            "stands both beside and under `config:`",
        ),
        ("{type: python, function: nowhere}", "`evaluate.evaluators[0].function`"),
    ],
)
def test_names_in_evaluators_are_checked_against_the_schema(problems_of, evaluator, message):
    found = problems_of(
        HEAD + f"load: {{destination: b, schema: {{mood: string}}}}\nevaluate: [{evaluator}]\n"
    )
    assert len(found) == 1
    assert message in found[0]


def test_two_evaluators_of_one_name_are_refused(problems_of):
    assert "two evaluators are called `semantic`" in problems_of(GOOD + "evaluate: [semantic, semantic]\n")[0]


@pytest.mark.parametrize("name", ["a/b c", "Grüße 🧵", "customer.sentiment", "2.10", "yes"])
def test_names_may_have_slashes_spaces_and_emoji(spec_of, name):
    assert spec_of(GOOD.replace("name: x", f"name: {name}")).name == name


@pytest.mark.parametrize("name", ['" x"', '"x "', '"a\\tb"', '"a\\nb"', '"a\\u200bb"', '""', "a" * 201])
def test_names_that_cannot_be_seen_are_refused(problems_of, name):
    found = problems_of(GOOD.replace("name: x", f"name: {name}"))
    assert len(found) == 1
    assert found[0].startswith("pipelines/x.yaml:1: `name`")
