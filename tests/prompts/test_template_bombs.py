from __future__ import annotations

import pytest

from loom_dagster.errors import Permanent

DOUBLE = 40

BOMBS = {
    "multiplied text": "{{ 'a' * 10**9 }}",
    "multiplied list": "{{ [1] * 10**9 }}",
    "power": "{{ 9 ** (9 ** 9) }}",
    "product": "{% set a = 9 ** 300 %}" + "{% set a = a * a %}" * DOUBLE,
    "range": "{% for i in range(10 ** 9) %}x{% endfor %}",
    "range as list": "{{ range(10 ** 9) | list }}",
    "nested loops": "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
    "endless macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "forking macro": "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "doubled by ~": "{% set a = 'aaaaaaaa' %}" + "{% set a = a ~ a %}" * DOUBLE,
    "doubled by +": "{% set a = 'aaaaaaaa' %}" + "{% set a = a + a %}" * DOUBLE,
    "doubled by block": "{% set a = 'aaaaaaaa' %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * DOUBLE,
    "doubled in a loop": "{% set n = namespace(a='a') %}{% for i in range(99) %}{% set n.a = n.a ~ n.a %}{% endfor %}",
    "doubled by join": "{% set a = 'aaaaaaaa' %}" + "{% set a = [a, a] | join %}" * DOUBLE,
    "doubled by replace": "{% set a = 'aaaaaaaa' %}" + "{% set a = a | replace('a', 'aa') %}" * DOUBLE,
    "doubled by method": "{% set a = 'aaaaaaaa' %}" + "{% set a = a.replace('a', 'aa') %}" * DOUBLE,
    "doubled by filter block": "{% set a = 'aaaaaaaa' %}"
    + "{% set a %}{% filter upper %}{{ a }}{{ a }}{% endfilter %}{% endset %}" * DOUBLE,
    "shared lists": "{% set a = [1] %}" + "{% set a = [a, a] %}" * DOUBLE + "{{ a }}",
    "shared tuples compared": "{% set a = (1,) %}" + "{% set a = (a, a) %}" * DOUBLE + "{{ a == a }}",
    "shared dicts": "{% set a = 1 %}" + "{% set a = dict(a=a, b=a) %}" * DOUBLE + "{{ a | tojson }}",
    "center": "{{ 'a' | center(10 ** 9) }}",
    "indent": "{{ 'a' | indent(10 ** 9) }}",
    "format filter": "{{ '%999999999d' | format(1) }}",
    "format star": "{{ '%*d' | format(10 ** 9, 1) }}",
    "format operator": "{{ '%999999999d' % 1 }}",
    "format precision": "{{ '%.999999999f' % 1 }}",
    "much output": "{% set a = 'a' * 1000000 %}{% for i in range(100) %}{{ a }}{% endfor %}",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_is_one_clear_error_at_validation(shop, bomb):
    prompt, problems = shop.compile("fine\n" + bomb + "{{ input.x }}")
    assert prompt is None
    assert len(problems) == 1
    assert problems[0].startswith("error: prompts/p.txt:")


def test_a_bomb_is_found_in_the_system_message_as_well(shop):
    prompt, problems = shop.compile("---\nsystem: \"{{ 'a' * 10**9 }}\"\n---\n{{ input.x }}")
    assert prompt is None
    assert problems[0].startswith("error: prompts/p.txt:2: the template builds more than")


@pytest.mark.parametrize(
    ("template", "columns"),
    [
        ("{% for i in range(input.n) %}x{% endfor %}", {"n": 10**9}),
        ("{{ 'ab' * input.n }}", {"n": 10**9}),
        ("{% for i in range(input.n) %}{{ input.n * input.n }}{% endfor %}", {"n": 10**6 + 1}),
        (
            "{% for a in input.n %}{% for b in input.n %}{% for c in input.n %}{% endfor %}{% endfor %}{% endfor %}.",
            {"n": [1] * 500},
        ),
        ("{{ input.n }}", {"n": "x" * (16 * 1024 * 1024 + 1)}),
    ],
)
def test_a_bomb_that_a_record_sets_off_costs_that_record_only(shop, template, columns):
    prompt = shop.prompt(template)
    with pytest.raises(Permanent) as caught:
        prompt.render(columns)
    assert caught.value.kind == "unrenderable"
    assert prompt.render({"n": [2] if "in input.n" in template else 2})


@pytest.mark.parametrize(
    "depth", ["{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "{% if 1 %}" * 500 + "x" + "{% endif %}" * 500]
)
def test_endless_nesting_is_refused(shop, depth):
    _, problems = shop.compile(depth)
    assert problems == ["error: prompts/p.txt:1: the template is nested too deeply (write it flatter)"]


@pytest.mark.parametrize(
    "template",
    [
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% from 'x' import y %}",
        "{% extends 'x' %}",
        "{% block a %}{% endblock %}",
        "{% for a in [] recursive %}{% endfor %}",
        "{{ lipsum(9) }}",
        "{{ cycler('a') }}",
        "{{ self }}",
        "{{ input.x | pprint }}",
        "{{ input.x | attr('y') }}",
        "{{ input.x.__class__ }}",
        "{{ range.__init__.__globals__ }}",
        "{% for a in [1] %}{{ loop._iterator }}{% endfor %}",
        "{% autoescape true %}{% endautoescape %}",
        "{{ _loom_0 }}",
        "{% set _loom_0 = 1 %}",
        "{% set range = 1 %}",
    ],
)
def test_what_a_prompt_has_no_use_for_is_refused_with_its_line(shop, template):
    prompt, problems = shop.compile("fine\n" + template + "\n{{ input.x }}")
    assert prompt is None
    assert all(p.startswith("error: prompts/p.txt:2: ") for p in problems)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''['__class__'] }}",
        "{{ [''] | map(attribute='__class__') | list }}",
        "{{ input.x.format(1) }}",
        "{{ input.x.ljust(10 ** 9) }}",
        "{{ input.x.encode() }}",
        "{{ input.y.pop() }}",
        "{{ input.y.append(1) }}",
        "{{ namespace()['_Namespace__attrs'] }}",
    ],
)
def test_nothing_but_data_can_be_reached(shop, template):
    with pytest.raises(Permanent):
        shop.prompt(template).render({"x": "text", "y": [1]})


@pytest.mark.parametrize(
    "template", ["{{ '%999999999d' % 1 }}", "{{ '%-*d' | format(9, 1) }}", "{{ '%.99999f' % 1 }}"]
)
def test_wide_formats_are_refused_before_they_are_made(shop, template):
    assert "formats wider than 1000 characters" in shop.compile(template)[1][1]
