"""The project's own functions as evaluators: whatever they do, a record is judged or marked, never passed."""

from __future__ import annotations

import asyncio
import itertools
import threading
from decimal import Decimal

import pytest

from loom_dagster.evaluate.function import Function, import_function
from loom_dagster.spec.models import Python

_numbers = itertools.count()


@pytest.fixture
def function(tmp_path):
    """Writes a module and names the function in it."""

    def write(body: str) -> dict[str, str]:
        name = f"judges_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(body)
        return {"type": "python", "function": f"{name}:judge"}

    return write


@pytest.mark.parametrize(
    ("returned", "value", "why"),
    [
        ("True", 1.0, ""),
        ("False", 0.0, ""),
        ("0.25", 0.25, ""),
        ("1", 1.0, ""),
        ("__import__('decimal').Decimal('0.5')", 0.5, ""),
        ("__import__('numpy').float32(0.5)", 0.5, ""),
        ("__import__('numpy').bool_(True)", 1.0, ""),
        ("(False, 'too short')", 0.0, "too short"),
        ("(0.5, None)", 0.5, ""),
    ],
)
async def test_what_a_function_may_give(score, function, returned, value, why):
    got = await score(function(f"def judge(output, record): return {returned}"))
    assert (got.value, got.explanation, got.error) == (value, why, None)


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ("return None", "gave NoneType"),
        ("return 'yes'", "gave str"),
        ("return {'score': 1}", "gave dict"),
        ("return [1.0]", "gave list"),
        ("return 1.01", "not in 0..1"),
        ("return -1", "not in 0..1"),
        ("return float('nan')", "not in 0..1"),
        ("raise KeyError('x')", "raised KeyError: 'x'"),
        ("raise TimeoutError('mine')", "raised TimeoutError: mine"),
        ("raise StopIteration", "raised StopIteration"),
        ("raise SystemExit(3)", "SystemExit(3)"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ],
)
async def test_anything_else_is_an_error_and_never_a_pass(score, function, body, part):
    got = await score({**function(f"def judge(output, record): {body}"), "threshold": 0.0})
    assert (got.value, got.passed) == (None, False)
    assert part in got.error


async def test_output_and_record_are_copies(panel, case, function):
    evaluator = function("def judge(output, record):\n output['l'].append(1); record.clear(); return 1")
    one = case({"l": []})
    await panel(evaluator).judge(one)
    assert one.output == {"l": []}
    assert one.record.columns


async def test_it_sees_the_output_and_the_source_columns(score, function):
    evaluator = function("def judge(output, record): return output['a'] == record['b']")
    assert (await score(evaluator, {"a": "x"}, b="x")).passed


async def test_a_coroutine_function_is_awaited(score, function):
    evaluator = function(
        "import asyncio\nasync def judge(output, record):\n await asyncio.sleep(0); return 0.5, 'ok'"
    )
    assert (await score(evaluator)).value == 0.5


async def test_a_function_that_hangs_is_given_up_and_does_not_hold_up_the_loop(case):
    release = threading.Event()
    spec = Python(name="slow", type="python", function="m:f", threshold=0.0)
    hanging = Function(spec, lambda output, record: release.wait(), patience=0.01)
    try:
        got = await hanging.score(case(), [])
    finally:
        release.set()
    assert (got.value, got.error) == (None, "m:f gave nothing in 0.01 s")


async def test_a_coroutine_that_hangs_is_given_up(case):
    async def hang(output, record):
        await asyncio.Event().wait()

    spec = Python(name="slow", type="python", function="m:f")
    got = await Function(spec, hang, patience=0.01).score(case(), [])
    assert got.error == "m:f gave nothing in 0.01 s"


async def test_calls_run_beside_each_other(case):
    both = threading.Barrier(2, timeout=5)
    spec = Python(name="pair", type="python", function="m:f")
    function = Function(spec, lambda output, record: both.wait() >= 0)
    scores = await asyncio.gather(function.score(case(), []), function.score(case(), []))
    assert [s.value for s in scores] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("reference", "part"),
    [
        ("no_such_module_here:f", "cannot be imported"),
        ("broken_judges:f", "cannot be imported: SyntaxError"),
        ("leaving_judges:f", "cannot be imported: SystemExit"),
        ("fine_judges:missing", "no function `missing`"),
        ("fine_judges:NUMBER", "no function `NUMBER`"),
        ("fine_judges:one_argument", "cannot be called with (output, record)"),
    ],
)
def test_a_function_that_cannot_be_used_says_why(tmp_path, reference, part):
    (tmp_path / "broken_judges.py").write_text("def f(:")
    (tmp_path / "leaving_judges.py").write_text("raise SystemExit")
    (tmp_path / "fine_judges.py").write_text("NUMBER = 1\ndef one_argument(output): return 1")
    with pytest.raises(ValueError) as caught:
        import_function(reference, tmp_path)
    assert part in str(caught.value)


def test_decimal_is_a_number():
    from loom_dagster.evaluate.function import _read

    assert _read(Decimal(1)) == (1.0, "")
