from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loom_dagster.errors import Permanent
from loom_dagster.prompts import check_value, render_value


def refusal(prompt, **columns):
    with pytest.raises(Permanent) as caught:
        prompt.render(columns)
    assert caught.value.kind == "unrenderable"
    return str(caught.value)


def test_a_prompt_becomes_one_user_message(shop):
    prompt = shop.prompt("Classify: {{ input.review }}\n")
    assert prompt.render({"review": "good", "other": 1}) == [{"role": "user", "content": "Classify: good"}]
    assert prompt.columns == {"review"}


def test_columns_may_have_the_names_of_methods_and_spaces(shop):
    text = shop.text(
        "{{ input.items }}{{ input.keys }}{{ input['a b'] }}", **{"items": 1, "keys": 2, "a b": 3}
    )
    assert text == "123"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (0.1, "0.1"),
        (2**70, str(2**70)),
        (Decimal("1.10"), "1.10"),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03:04:00+00:00"),
        (time(3, 4), "03:04:00"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (["b", "ä", None, True], '["b","ä",null,true]'),
        ({"b": 1, "a": [Decimal("1.10"), date(2026, 1, 2)]}, '{"b":1,"a":["1.10","2026-01-02"]}'),
        (
            [2**70, UUID(int=5), date(2026, 1, 2)],
            f'[{2**70},"00000000-0000-0000-0000-000000000005","2026-01-02"]',
        ),
        ("{{ input.x }} <b> ${x}", "{{ input.x }} <b> ${x}"),
    ],
)
def test_values_read_as_their_plain_text(shop, value, text):
    assert shop.text("{{ input.x }}", x=value) == text


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"abc", "holds bytes"),
        (float("nan"), "is nan"),
        (float("inf"), "is inf"),
        (Decimal("NaN"), "is NaN"),
        ([{"a": [b"x"]}], "holds bytes"),
        ({"a": float("nan")}, "is nan"),
        (object(), "holds a object"),
    ],
)
def test_values_without_honest_text_are_refused_by_column(shop, value, why):
    assert f"column `x` {why}" in refusal(shop.prompt("{{ input.x }}"), x=value)


def test_half_a_character_is_refused(shop):
    assert "half a unicode character" in refusal(shop.prompt("{{ input.x }}"), x="\ud800")


def test_a_column_that_the_prompt_does_not_use_is_not_looked_at(shop):
    assert shop.prompt("{{ input.x }}").render({"x": "1", "blob": b"x"})[-1]["content"] == "1"


def test_nulls_are_counted_unless_the_prompt_looks_after_them(shop):
    prompt = shop.prompt(
        "{{ input.a }}{{ input.b | default('none') }}{% if input.c %}{{ input.c }}{% endif %}{{ input.d or '-' }}"
    )
    record = dict.fromkeys("abcd")
    assert prompt.render(record)[-1]["content"] == "none-"
    assert prompt.nulls(record) == ("a",)
    assert prompt.nulls({**record, "a": ""}) == ()


def test_default_works_for_null_and_false(shop):
    assert shop.text("{{ input.x | default('n/a') }}", x=None) == "n/a"
    assert shop.text("{{ input.x | d('n/a', true) }}", x="") == "n/a"
    assert shop.text("{{ input.x | default('n/a') }}", x="") == ""


@pytest.mark.parametrize(
    "text",
    [
        '{"sentiment": "positive|negative"}',
        "costs $5",
        "{x} and { y }",
        "100 %",
        "a $ b ${c}",
        "#{x}",
        "a\\b{c}",
    ],
)
def test_braces_dollars_and_percent_are_text(shop, text):
    assert shop.text(text + " {{ input.x }}", x="!") == text + " !"


@pytest.mark.parametrize(
    ("template", "columns", "text"),
    [
        ("{% for t in input.x %}{{ loop.index }}{{ t | upper }}{% endfor %}", {"x": ["a", "b"]}, "1A2B"),
        (
            "{% for k, v in input.x | items %}{{ k }}={{ v }};{% endfor %}",
            {"x": {"items": 1, "b": None}},
            "items=1;b=;",
        ),
        ("{{ input.x.name.strip() }}", {"x": {"name": " n "}}, "n"),
        ("{{ input.x[0] ~ '-' ~ input.y }}", {"x": [1], "y": None}, "1-"),
        ("{{ '%.2f' | format(input.x) }} {{ '%05d' % 7 }}", {"x": Decimal("1.005")}, "1.00 00007"),
        ("{{ input.x | join(', ') }} {{ '; '.join(input.x) }}", {"x": ["a", 1]}, "a, 1 a; 1"),
        ("{{ input.x | tojson }}", {"x": {"a": "<é>"}}, '{"a":"<é>"}'),
        ("{{ input.x | replace('a', 'b') }}{{ input.x.replace('a', '') }}", {"x": "aa"}, "bb"),
        ("{{ input.x | map('upper') | join }}", {"x": ["a", "b"]}, "AB"),
        ("{{ input.x | sum(attribute='n') }}", {"x": [{"n": 1}, {"n": 2}]}, "3"),
        ("{{ input.x.strftime('%Y') }}", {"x": date(2026, 1, 2)}, "2026"),
        ("{{ input.x | indent(2) }}", {"x": "a\nb"}, "a\n  b"),
        ("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(input.x) }}", {"x": 1}, "<1>"),
        (
            "{% set ns = namespace(n=0) %}{% for i in range(3) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}{{ input.x }}",
            {"x": ""},
            "3",
        ),
        ("{% raw %}{{ x }}{% endraw %}{# gone #}{{ input.x }}", {"x": ""}, "{{ x }}"),
        ("{{ 'yes' if input.x > 1 else 'no' }}", {"x": 2}, "yes"),
    ],
)
def test_the_usual_jinja_works(shop, template, columns, text):
    assert shop.text(template, **columns) == text


def test_an_error_names_file_and_line(shop):
    prompt = shop.prompt("one\ntwo {{ input.x + 1 }}")
    assert refusal(prompt, x=None).startswith("prompts/p.txt:2: the prompt cannot be rendered")
    assert "has no attribute 'name'" in refusal(shop.prompt("{{ input.x.name }}"), x={"nam": 1})
    assert "the record has no column `x`" in refusal(shop.prompt("{{ input.x }}"), y=1)


def test_the_system_message_comes_first_and_may_use_columns(shop):
    prompt = shop.prompt("---\nsystem: |\n  You speak {{ input.language }}.\n---\n{{ input.x }}")
    assert prompt.render({"language": "Welsh", "x": "hi"}) == [
        {"role": "system", "content": "You speak Welsh."},
        {"role": "user", "content": "hi"},
    ]


def test_windows_line_ends_make_no_difference(shop):
    unix = shop.prompt("---\nversion: 1\n---\na\n{{ input.x }}\n")
    windows = shop.prompt("\ufeff---\r\nversion: 1\r\n---\r\na\r\n{{ input.x }}\r\n".encode())
    assert windows.digest == unix.digest
    assert windows.render({"x": 1}) == unix.render({"x": 1})


def test_a_value_is_a_template_as_well():
    assert render_value("{{ input.name | upper }}!", {"name": "x"}) == "X!"
    assert check_value("{{ input.name }}", ["name"], where="p.yaml:3") == ()
    (unknown,) = check_value("{{ input.nam }}", ["name"], where="p.yaml:3")
    assert str(unknown) == "p.yaml:3: the source has no column `nam` (did you mean `name`?)"
    assert check_value("{{ context.x }}", where="p.yaml:3")[0].where == "p.yaml:3"
    assert check_value("{{ input.", where="p.yaml:3")[0].where == "p.yaml:3"
    assert "steps" in check_value("{% for a in range(9**9) %}{% endfor %}", where="p.yaml:3")[0].what


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=3)
    | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=values)
def test_any_value_is_rendered_or_refused(value):
    template = "{{ input.x }}{{ input.x | tojson }}{{ input.x ~ '' }}"
    try:
        outcome = render_value(template, {"x": value})
    except Permanent as error:
        outcome = error.kind
    assert isinstance(outcome, str)
