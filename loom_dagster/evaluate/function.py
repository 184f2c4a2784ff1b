"""The ``python`` evaluator: a function of the project, ``module:name``, called with copies.

A coroutine function is awaited. Any other one runs in a thread of its own (about 0.1 ms), several at
once, so that it cannot hold up the other records; a thread and not an executor, because one that
never returns must not keep the process from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import importlib
import inspect
import math
import sys
import threading
from collections.abc import Callable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from loom_dagster.evaluate.case import Case, Unjudgeable
from loom_dagster.records import Answer, Score
from loom_dagster.spec.models import Python

__all__ = ["Function", "import_function"]

Judge = Callable[[dict[str, Any], dict[str, Any]], Any]

PATIENCE = 60.0  # seconds for one call
_AT_ONCE = 8


def import_function(reference: str, root: Path) -> Judge:
    """The function ``module:name``, with ``root`` importable.

    Raises ValueError, saying why, when there is no such function or it does not take two arguments.
    """
    module_name, _, name = reference.partition(":")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
        importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever the module does when it is imported
        raise ValueError(f"`{module_name}` cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"`{module_name}` has no function `{name}`")  # noqa: TRY004 - one kind for all
    try:
        inspect.signature(function).bind({}, {})
    except TypeError as error:
        raise ValueError(f"`{reference}` cannot be called with (output, record): {error}") from error
    except ValueError:
        pass  # a builtin that does not tell its signature
    judge: Judge = function
    return judge


class Function:
    """An evaluator that calls ``function(output, record)``."""

    waits = True

    def __init__(self, spec: Python, function: Judge, *, patience: float = PATIENCE) -> None:
        self.spec = spec
        self._function = function
        self._patience = patience
        self._awaits = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - an object with an async __call__
        )
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def score(self, case: Case, answers: list[Answer]) -> Score:
        """The function's score; one without a value when it raises, hangs, or gives anything but a
        bool, a number in 0..1, or a pair of that and a reason."""
        value, explanation, error = None, "", None
        try:
            value, explanation = _read(await self._call(case))
        except Unjudgeable as why:
            error = f"{self.spec.function} {why}"
        return Score(
            name=self.spec.name,
            value=value,
            threshold=self.spec.threshold,
            weight=self.spec.weight,
            explanation=explanation,
            error=error,
        )

    async def _call(self, case: Case) -> Any:
        def call() -> Any:
            return self._function(copy.deepcopy(dict(case.output)), copy.deepcopy(dict(case.record.columns)))

        async with contextlib.AsyncExitStack() as stack:
            if not self._awaits:
                await stack.enter_async_context(self._turns)
            try:
                async with asyncio.timeout(self._patience) as deadline:
                    return await (call() if self._awaits else _in_a_thread(call))
            except Exception as error:
                if deadline.expired():
                    raise Unjudgeable(f"gave nothing in {self._patience:g} s") from None
                raise Unjudgeable(f"raised {type(error).__name__}: {error}") from error


async def _in_a_thread(call: Callable[[], Any]) -> Any:
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[tuple[Any, Exception | None]] = loop.create_future()

    def settle(result: Any, error: Exception | None) -> None:
        if not outcome.done():  # else it has been given up
            outcome.set_result((result, error))

    def work() -> None:
        result, failed = None, None
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - sys.exit() in a user's function ends no run
            failed = error if isinstance(error, Exception) else RuntimeError(repr(error))
        with contextlib.suppress(RuntimeError):  # the loop may have closed meanwhile
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=work, daemon=True, name="loom-python-evaluator").start()
    result, error = await outcome
    if error is not None:
        raise error
    return result


def _read(result: Any) -> tuple[float, str]:
    reason = ""
    if isinstance(result, tuple) and len(result) == 2:
        result, reason = result[0], "" if result[1] is None else str(result[1])
    if isinstance(result, Mapping | str | bytes) or result is None:
        raise Unjudgeable(f"gave {type(result).__name__}, not a bool or a number in 0..1")
    if not isinstance(result, Real) and hasattr(result, "item"):
        result = result.item()  # a numpy or torch scalar
    try:
        value = float(result)
    except (TypeError, ValueError):
        raise Unjudgeable(f"gave {type(result).__name__}, not a bool or a number in 0..1") from None
    if not math.isfinite(value) or not 0.0 <= value <= 1.0:
        raise Unjudgeable(f"gave {value:g}, which is not in 0..1")
    return value, reason
