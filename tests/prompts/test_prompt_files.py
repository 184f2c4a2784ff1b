from __future__ import annotations

import pytest

FULL = """\
---
version: v1.2
description: What it does
system: You classify.
schema: {label: {type: string, enum: [yes, no]}, score: float}
variables: [review]
examples:
  - input: {review: great}
    output: {label: yes, score: 0.9}
  - input: "As it is: {{ input.review }}"
    output: |
      plain answer
---
Review: {{ input.review }}
"""


def test_front_matter_is_read_and_examples_become_messages(shop):
    prompt = shop.prompt(FULL)
    assert (prompt.name, prompt.version) == ("p", "v1.2")
    assert prompt.fields["label"].enum == ("yes", "no")
    assert prompt.render({"review": "bad"}) == [
        {"role": "system", "content": "You classify."},
        {"role": "user", "content": "Review: great"},
        {"role": "assistant", "content": '{"label":"yes","score":0.9}'},
        {"role": "user", "content": "As it is: {{ input.review }}"},
        {"role": "assistant", "content": "plain answer"},
        {"role": "user", "content": "Review: bad"},
    ]
    assert [(e.input, e.output) for e in prompt.examples][1] == (
        "As it is: {{ input.review }}",
        "plain answer",
    )


def test_the_output_may_be_called_output(shop):
    assert shop.prompt("---\noutput: {a: int}\n---\n{{ input.x }}").fields["a"].type == "integer"
    assert shop.prompt("{{ input.x }}").fields is None


def test_every_problem_of_the_front_matter_comes_at_once_with_its_line(shop):
    prompt, problems = shop.compile(
        "---\nversoin: 1\nschema: {a: flot}\nversion: 1\nversion: 2\nexamples:\n  - {input: 1, output: [a]}\n---\n{{ input.x }}"
    )
    assert prompt is None
    assert problems == [
        "error: prompts/p.txt:2: unknown key `versoin` (did you mean `version`?)",
        "error: prompts/p.txt:3: `schema.a.type` is `flot` (did you mean `float`?)",
        "error: prompts/p.txt:5: `version` stands here and at line 4 (keep one of them)",
        "error: prompts/p.txt:7: `examples[0].output`: is neither a text nor a mapping of columns",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("---\nversion: 1\n{{ input.x }}", "prompts/p.txt:1: the front matter that begins here has no end"),
        ("---\n\tversion: 1\n---\n{{ input.x }}", "prompts/p.txt:2: line 2 is indented with a tab"),
        ("---\n- a\n---\n{{ input.x }}", "prompts/p.txt:2: the file is a list"),
        ("", "prompts/p.txt: the prompt is empty"),
        ("---\nversion: 1\n---\n  \n", "prompts/p.txt: the prompt is empty"),
        (b"caf\xe9", "prompts/p.txt:1: is not UTF-8 text"),
        ('---\nversion: "a\\tb"\n---\n{{ input.x }}', "prompts/p.txt:2: `version`"),
    ],
)
def test_a_file_that_is_no_prompt_gets_one_clear_sentence(shop, text, message):
    prompt, problems = shop.compile(text)
    assert prompt is None
    assert len(problems) == 1
    assert problems[0].startswith(f"error: {message}")


@pytest.mark.parametrize("text", ["---\n---\n{{ input.x }}", "---\n# nothing\n---\n{{ input.x }}"])
def test_empty_front_matter_is_none(shop, text):
    assert shop.text(text, x="1") == "1"


def test_lines_of_the_template_count_from_the_top_of_the_file(shop):
    _, problems = shop.compile(
        "---\nversion: 1\nsystem: |\n  one\n  {{ foo }}\n---\none\ntwo {{ input.x | uper }}"
    )
    assert problems == [
        (
            "error: prompts/p.txt:5: nothing is called `foo` "
            "(a column is written `{{ input.foo }}`, a context `{{ context.foo }}`)"
        ),
        "error: prompts/p.txt:8: there is no filter `uper` in prompts (did you mean `upper`?)",
    ]


@pytest.mark.parametrize(
    ("line", "message", "raw"),
    [
        ('{{"a": 1, "b"}', "the template is wrong", True),
        ("\\frac{{x}{y}}", "the template is wrong", True),
        ("a {# b", "the template is wrong", True),
        ("{{ input.x | }}", "the template is wrong", False),
        ("{{ input }}", "`input` alone has no text", False),
        ("{{ input[name] }}", "is not known before a record is read", False),
        ("{{ inputs.x }}", "did you mean `input`?", False),
        ("{% set context = 1 %}", "`context` is taken", False),
        ("{% for input in [1] %}{% endfor %}", "`input` is taken", False),
    ],
)
def test_a_wrong_template_names_its_line_and_the_way_out(shop, line, message, raw):
    prompt, problems = shop.compile(f"fine\n{line}\n")
    assert prompt is None
    assert problems[0].startswith("error: prompts/p.txt:2: ")
    assert message in problems[0]
    assert ("{% raw %}" in problems[0]) is raw


def test_columns_are_checked_against_the_source(shop):
    prompt = shop.prompt("---\nsystem: '{{ input.langage }}'\n---\none\n{{ input.reveiw }} {{ input.id }}")
    assert [str(p) for p in prompt.check_columns(["id", "review", "language"])] == [
        "prompts/p.txt:2: the source has no column `langage` (did you mean `language`?)",
        "prompts/p.txt:5: the source has no column `reveiw` (did you mean `review`?)",
    ]
    assert prompt.check_columns(["id", "reveiw", "langage"]) == ()


def test_declared_variables_match_the_use(shop):
    _, problems = shop.compile("---\nvariables: {reveiw: the text}\n---\n{{ input.review }}")
    assert problems == [
        "error: prompts/p.txt:2: variable `reveiw` is declared but not used (did you mean `review`?)",
        "error: prompts/p.txt:2: column `review` is used but not declared in `variables`",
    ]


def test_a_prompt_without_columns_is_a_warning(shop):
    prompt, problems = shop.compile("Tell me a joke")
    assert prompt is not None
    assert problems[0].startswith("warning: prompts/p.txt:1: the prompt uses no column")


def test_examples_have_the_columns_that_the_prompt_uses(shop):
    _, problems = shop.compile(
        "---\nexamples:\n- {input: {b: 1, c: 1}, output: x}\n---\n{{ input.a }}{{ input.b }}"
    )
    assert problems == [
        "error: prompts/p.txt:3: example 1 has no `a`, which the prompt uses (add it (null, if it should be empty))",
        "error: prompts/p.txt:3: example 1 has a column `c`, which the prompt does not use (known: a, b)",
    ]


def test_an_example_that_cannot_be_rendered_is_a_problem(shop):
    _, problems = shop.compile("---\nexamples:\n- {input: {a: text}, output: x}\n---\n{{ input.a + 1 }}")
    assert problems[0].startswith("error: prompts/p.txt:3: example 1: ")


@pytest.mark.parametrize("written", ["prompts/p.txt", "p.txt", "p"])
def test_a_prompt_is_found_by_path_or_name(shop, written):
    shop.write("prompts/p.txt", "{{ input.x }}")
    prompt, _ = shop.compile(transform="")
    assert prompt.name == "p"
    from loom_dagster.prompts import compile_prompt
    from loom_dagster.spec import parse_pipeline

    file = parse_pipeline(
        f"name: x\nextract: {{source: a}}\ntransform: {{prompt: {written}}}\nload: {{destination: b}}\n"
    )
    assert compile_prompt(file, shop.settings, environ={})[0].name == "p"


def test_a_missing_prompt_gets_the_nearest(shop):
    shop.write("prompts/q.txt", "x")
    _, problems = shop.compile()
    assert problems == [
        "error: pipelines/x.yaml:3: the prompt file prompts/p.txt does not exist (did you mean `prompts/q.txt`?)"
    ]


@pytest.mark.parametrize("name", ["a b.txt", "ünïcode 🧵.txt", "deep/er/x.md"])
def test_prompts_may_have_any_name(shop, name):
    from loom_dagster.prompts import compile_prompt
    from loom_dagster.spec import parse_pipeline

    (shop.root / "prompts" / "deep" / "er").mkdir(parents=True)
    shop.write(f"prompts/{name}", "{{ input.x }}")
    file = parse_pipeline(
        f"name: x\nextract: {{source: a}}\ntransform: {{prompt: 'prompts/{name}'}}\nload: {{destination: b}}\n"
    )
    prompt, problems = compile_prompt(file, shop.settings, environ={})
    assert (prompt.name, problems) == (name.rpartition(".")[0], ())
