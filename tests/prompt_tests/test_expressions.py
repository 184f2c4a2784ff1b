"""The language of assertions: what it says yes to, what it refuses and where, and that nothing gets through it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loom_dagster.errors import Misconfigured
from loom_dagster.prompt_tests.expressions import Unknown, parse
from loom_dagster.prompt_tests.kinds import ANY, BOOLEAN, NUMBER, TEXT, Function, Kind, Scope
from loom_dagster.prompt_tests.nodes import Path

VALUES: dict[Path, Any] = {
    ("evaluation_score",): 0.82,
    ("passed",): True,
    ("cost",): None,
    ("output", "sentiment"): "positive",
    ("output", "confidence"): 0.9,
    ("output", "tags"): ["a", "b"],
    ("scores", "my check"): 0.5,
}
SCOPE = Scope(
    names={
        ("evaluation_score",): NUMBER,
        ("passed",): BOOLEAN,
        ("cost",): NUMBER,
        ("output", "sentiment"): Kind("text", ("positive", "negative", "neutral")),
        ("output", "confidence"): NUMBER,
        ("output", "tags"): ANY,
        ("output", "reasoning"): TEXT,
        ("scores", "my check"): NUMBER,
    }
)
MANY = Scope(
    of_record=SCOPE.names,
    functions={
        "mean": Function(takes=("number",), gives=NUMBER, over=True),
        "fraction": Function(takes=("boolean",), gives=NUMBER, over=True),
        "count": Function(takes=("boolean",), gives=NUMBER, needs=0, over=True),
        "percentile": Function(takes=("number", "number"), gives=NUMBER, needs=2, over=True, constant=(1,)),
    },
)


def lookup(path: Path) -> Any:
    value = VALUES[path]
    if value is None:
        raise Unknown("there is none")
    return value


def holds(text: str) -> bool:
    return parse(text, SCOPE).holds(lookup)


@pytest.mark.parametrize(
    "text",
    [
        "evaluation_score > 0.8",
        "evaluation_score >= 0.82 and evaluation_score <= .82",
        "output.sentiment == 'positive'",
        'output["sentiment"] != "negative"',
        "output.sentiment in ['positive', 'neutral']",
        "output.sentiment not in ['negative']",
        "'b' in output.tags and length(output.tags) == 2",
        "'pos' in output.sentiment",
        "not passed or output.confidence > 0.5",
        "scores['my check'] == 0.5",
        "1 + 2 * 3 == 7 and (1 + 2) * 3 == 9 and 7 - 2 - 1 == 4 and 8 / 2 / 2 == 2",
        "-output.confidence < 0 and - -1 == 1 and not not passed",
        "passed == true and passed != null",
        "lower('ÄB') == 'äb' and abs(-2) == 2",
        "'it\\'s' == \"it's\"",
        "output.sentiment < 'q'",
    ],
)
def test_an_assertion_that_holds(text: str) -> None:
    assert holds(text)


@pytest.mark.parametrize(
    "text",
    [
        "evaluation_score > 0.82",
        "evaluation_score < 0.82",
        "output.sentiment == 'negative'",
        "output.sentiment in ['negative']",
        "passed and output.confidence > 0.95",
        "not passed",
        "1 in [true]",
        "output.tags == 'a'",
    ],
)
def test_an_assertion_that_does_not_hold(text: str) -> None:
    assert not holds(text)


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("evaluaton_score > 0.9", 1, "did you mean `evaluation_score`?"),
        ("evaluation_score > 0.9 and output.sentimant == 'positive'", 28, "did you mean `output.sentiment`?"),
        ("output.sentiment == 'positve'", 21, "did you mean `positive`?"),
        ("output.sentiment > 0.9", 18, "a text is compared with a number"),
        ("output.confidence == '0.9'", 19, "leave the quotes out"),
        ("evaluation_score", 1, "nothing that can hold or not"),
        ("evaluation_score = 0.9", 18, "write `==`"),
        ("passed && passed", 8, "write `and`"),
        ("9**9**9 > 1", 2, "`**` means nothing here"),
        ("0.5 < evaluation_score < 0.9", 24, "write `a < b and b < c`"),
        ("evaluation_score >", 19, "missing at the end"),
        ("(evaluation_score > 0.5", 24, "`)` is missing"),
        ("evaluation_score > 0.5)", 23, "`)` does not belong here"),
        ("passed > 0.5", 1, "compares numbers"),
        ("passed + 1 == 2", 1, "takes a number"),
        ("not evaluation_score", 5, "takes true or false"),
        ("output.sentiment == 'positive", 21, "does not end"),
        ("mean(evaluation_score) > 0.5", 1, "there is no function `mean` here"),
        ("length() > 1", 1, "takes 1 argument, not 0"),
        ("abs > 1", 1, "write `abs(...)`"),
        ("1 in 2", 6, "wants a list or a text"),
        ("", 1, "is empty"),
        ("evaluation_score > 1e999", 20, "too large"),
        ("output. > 1", 9, "a name is missing"),
        ("__import__('os').system('true') == 0", 17, "`.` does not belong here"),
        ("__import__('os') == 0", 1, "there is no function `__import__`"),
        ("output.sentiment.__class__ == 1", 1, "there is no `output.sentiment.__class__`"),
    ],
)
def test_what_is_wrong_is_said_with_its_column(text: str, column: int, words: str) -> None:
    with pytest.raises(Misconfigured) as raised:
        parse(text, SCOPE)
    assert f"column {column}: " in raised.value.sentence()
    assert words in raised.value.sentence()
    assert raised.value.kind == "expression"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("evaluation_score > 0.5", "take it together: `mean(evaluation_score)`"),
        ("percentile(evaluation_score, 0.95) < 1", "write 95"),
        ("percentile(evaluation_score, passed) < 1", "a number from 0 to 100"),
        ("percentile(evaluation_score) < 1", "takes 2 arguments, not 1"),
        ("mean(mean(evaluation_score)) < 1", "there is no function `mean` here"),
        ("fraction(output.confidence) > 0.5", "takes true or false"),
        ("meen(evaluation_score) > 0.5", "did you mean `mean`?"),
        ("passed", "`fraction(passed) > 0.8`"),
        ("output.sentiment == 'positive'", "`fraction(output.sentiment == ...) > 0.8`"),
        ("mean(output.reasoning) > 0.5", "takes a number, and this is a text"),
    ],
)
def test_an_assertion_on_many_records_is_checked_too(text: str, words: str) -> None:
    with pytest.raises(Misconfigured) as raised:
        parse(text, MANY)
    assert words in raised.value.sentence()


def test_functions_over_records_are_handed_over() -> None:
    asked = []
    expression = parse("fraction(output.sentiment == 'positive') > 0.5 and count() >= 3", MANY)
    assert expression.holds(lookup, lambda call: asked.append(call.function) or 3.0)
    assert asked == ["fraction", "count"]


@pytest.mark.parametrize(
    "text", ["cost < 1", "1 / 0 > 1", "length(output.confidence) > 1", "1e300*1e300 > 1"]
)
def test_what_cannot_be_worked_out_neither_holds_nor_crashes(text: str) -> None:
    with pytest.raises(Unknown):
        holds(text)


def test_a_number_of_the_input_may_be_of_any_size() -> None:
    with pytest.raises(Unknown, match="too large"):
        parse("output.confidence > 5", SCOPE).holds(lambda _: 10**400)


def test_the_names_in_it_are_shown_with_what_they_are() -> None:
    expression = parse("evaluation_score > 0.9 or scores['my check'] > 0.9 or cost < 1", SCOPE)
    assert expression.actual(lookup) == {"evaluation_score": 0.82, "scores['my check']": 0.5}


_WORDS = st.sampled_from(
    [
        "evaluation_score",
        "passed",
        "output.sentiment",
        "output",
        "[",
        "]",
        "(",
        ")",
        ".",
        ",",
        "'x'",
        '"y"',
        "0.5",
        "9",
        "-1e5",
        "+",
        "-",
        "*",
        "/",
        "**",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "in",
        "not",
        "and",
        "or",
        "mean",
        "fraction",
        "length",
        "abs",
        "true",
        "null",
        "=",
        "&&",
        "\\",
        "'",
        "\x00",
        "é",
        "__class__",
        "lambda",
        "import",
    ]
)


@given(st.one_of(st.text(max_size=200), st.lists(_WORDS, max_size=60).map(" ".join)))
@example("(" * 10_000)
@example("(" * 150 + "1" + ")" * 150)
@example("not " * 400 + "passed")
@example("-" * 1_999)
@example("[" * 300)
@example("abs(" * 300)
@example("9**9**9 > 1")
@example("9" * 1_900 + " > 1")
@example("1" + "+1" * 190 + " > 1")
@example("1" + "+1" * 900)
@example("passed" + " and passed" * 190)
@example("output.a" + ".a" * 900)
@example("'" + "\\" * 1_000)
@settings(max_examples=400, deadline=None)
def test_any_text_is_an_assertion_or_an_error_of_ours(text: str) -> None:
    for scope in (SCOPE, MANY):
        try:
            expression = parse(text, scope)
            expression.holds(lookup, lambda call: 1.0)
        except (Misconfigured, Unknown):
            pass
