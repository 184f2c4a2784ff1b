"""What a case expects of an output, field by field: checked before anything is asked, then held against each answer."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from loom_dagster.prompt_tests.scopes import plain
from loom_dagster.spec import FieldSpec, Plain, nearest, resolve
from loom_dagster.transform.field_types import conversion

__all__ = ["Expectation", "Wrong", "expectations"]

TOLERANCE = 1e-9
_MATCHERS = ("any_of", "contains", "regex")
_LONGEST = 200
_LARGEST = sys.float_info.max

How = Literal["is", "at least", "at most", "matches", "contains", "is one of", "has"]


class Wrong(Exception):
    """What is expected makes no sense for the field. ``key`` is where it stands."""

    def __init__(self, key: str, what: str, fix: str | None = None) -> None:
        self.key, self.what, self.fix = key, what, fix
        super().__init__(what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """``field`` of the output (its path, dotted) ``how`` ``value``."""

    field: str
    path: tuple[str, ...]
    how: How
    value: Any

    def failure(self, output: Mapping[str, Any]) -> str | None:
        """Why ``output`` is not as expected; None when it is."""
        actual: Any = output
        for part in self.path:
            if isinstance(actual, str) and actual.lstrip().startswith("{"):
                actual = _document(actual)  # an object without fields is JSON text
            if not isinstance(actual, Mapping) or part not in actual:
                return f"there is no `{self.field}` in the output"
            actual = plain(actual[part])
        if _TESTS[self.how](actual, self.value):
            return None
        return f"{self} (actual: {_said(actual)})"

    def __str__(self) -> str:
        if self.how == "is one of":
            return f"{self.field} is one of {', '.join(map(_said, self.value))}"
        if self.how == "contains":
            return f"{self.field} contains {' and '.join(map(_said, self.value))}"
        value = self.value.pattern if isinstance(self.value, re.Pattern) else self.value
        return f"{self.field} {self.how} {_said(value)}"


def expectations(
    expected: Mapping[str, Any], fields: Mapping[str, FieldSpec], path: tuple[str, ...] = ()
) -> list[Expectation]:
    """What ``expected`` says of an output with ``fields``. Raises Wrong."""
    return [one for key, value in expected.items() for one in _of(key, value, fields, path)]


def _of(
    key: str, value: Any, fields: Mapping[str, FieldSpec], path: tuple[str, ...]
) -> Iterator[Expectation]:
    bound, name = key[:4], key[4:]
    if key not in fields and bound in ("min_", "max_") and name in fields:
        if fields[name].type not in ("integer", "float"):
            raise Wrong(key, f"`{key}` bounds `{name}`, which is {_named(fields[name].type)}, not a number")
        limit = _typed(key, value, fields[name])
        yield _expectation((*path, name), "at least" if bound == "min_" else "at most", limit)
        return
    spec = fields.get(key)
    if spec is None:
        said = "the output" if not path else f"`{'.'.join(path)}`"
        known = [*fields, *(f"{b}{n}" for n, s in fields.items() for b in ("min_", "max_") if _number(s))]
        raise Wrong(
            key, f"{said} has no field `{key}`", nearest(key, known if bound in ("min_", "max_") else fields)
        )
    yield from _of_field(key, value, spec, (*path, key))


def _of_field(key: str, value: Any, spec: FieldSpec, path: tuple[str, ...]) -> Iterator[Expectation]:
    if not isinstance(value, Mapping):
        yield _expectation(path, "is", _typed(key, value, spec))
        return
    [word, *more] = [*value] or [""]
    if word in _MATCHERS and not more and word not in (spec.fields or {}):
        yield _matcher(key, word, value[word], spec, path)
    elif spec.type == "object" and spec.fields:
        yield from expectations(value, spec.fields, path)
    elif spec.type == "object":
        yield _expectation(path, "has", resolve(value))
    else:
        what = f"`{key}` is {_named(spec.type)}, and a mapping is expected of it"
        raise Wrong(key, what, "write a value, or {regex: ..}, {contains: ..} or {any_of: [..]}")


def _matcher(key: str, word: str, value: Any, spec: FieldSpec, path: tuple[str, ...]) -> Expectation:
    if word == "any_of":
        if not isinstance(value, list | tuple) or not value:
            raise Wrong(key, f"`{key}`: `any_of` takes a list")
        return _expectation(path, "is one of", [_typed(key, each, spec) for each in value])
    if word == "contains":
        item = (spec.items or _STRING) if spec.type == "array" else _STRING
        several = value if isinstance(value, list | tuple) else [value]
        return _expectation(path, "contains", [_typed(key, each, item) for each in several])
    try:
        return _expectation(path, "matches", re.compile(str(value)))
    except (re.error, OverflowError) as error:
        raise Wrong(key, f"`{key}`: `{value}` is not a regular expression: {error}") from None


_STRING = FieldSpec(type="string")


def _expectation(path: tuple[str, ...], how: How, value: Any) -> Expectation:
    return Expectation(field=".".join(path), path=path, how=how, value=value)


def _typed(key: str, value: Any, spec: FieldSpec) -> Any:
    """``value`` as the field would have it: ``2.10`` is a text where the field is one."""
    if spec.type == "array" and isinstance(value, list | tuple):
        return [_typed(key, each, spec.items or _STRING) for each in value]
    if spec.type in ("string", "date", "timestamp") and isinstance(value, Plain | bool | int | float):
        value = str(value).lower() if isinstance(value, bool) else str(value)
    value = plain(resolve(value))
    if value is None:
        return None
    if spec.type in ("date", "timestamp"):
        value = _moment(key, value, spec)
    if _number(spec) and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise Wrong(key, f"`{key}` is a number, and `{value}` is none")
    if _number(spec) and not abs(value) <= _LARGEST:
        raise Wrong(key, f"`{key}` is a number that no output can have")
    if spec.type == "boolean" and not isinstance(value, bool):
        raise Wrong(key, f"`{key}` is true or false, and `{value}` is neither")
    if spec.enum is not None and value not in spec.enum and not key.startswith(("min_", "max_")):
        raise Wrong(
            key, f"`{value}` is no value that `{key}` can have", nearest(str(value), map(str, spec.enum))
        )
    return value


def _moment(key: str, value: Any, spec: FieldSpec) -> Any:
    """A date or time as an output has it, however it is written: ``10:00:00Z`` is ``10:00:00+00:00``."""
    turn = conversion(spec)
    try:
        return value if turn is None else plain(turn(value))
    except ValueError as error:
        raise Wrong(key, f"`{key}`: {error}") from None


def _number(spec: FieldSpec) -> bool:
    return spec.type in ("integer", "float")


def _named(kind: str) -> str:
    return {"string": "a text", "object": "an object", "array": "a list", "boolean": "true or false"}.get(
        kind, f"a {kind}"
    )


def _same(actual: Any, wanted: Any) -> bool:
    """Texts exactly, numbers to 1e-9, lists item by item, of objects what is wanted."""
    if isinstance(wanted, bool) or isinstance(actual, bool):
        return actual is wanted
    if isinstance(wanted, int | float) and isinstance(actual, int | float):
        near = abs(actual) <= _LARGEST and math.isclose(actual, wanted, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        return near or actual == wanted
    if isinstance(wanted, list | tuple):
        return (
            isinstance(actual, list | tuple)
            and len(actual) == len(wanted)
            and all(map(_same, map(plain, actual), wanted))
        )
    if isinstance(wanted, Mapping):
        found = _document(actual) if isinstance(actual, str) else actual
        return isinstance(found, Mapping) and all(
            k in found and _same(found[k], v) for k, v in wanted.items()
        )
    return bool(actual == wanted)


def _matches(actual: Any, pattern: re.Pattern[str]) -> bool:
    return isinstance(actual, str) and pattern.search(actual) is not None


def _contains(actual: Any, wanted: Sequence[Any]) -> bool:
    if isinstance(actual, str):
        return all(str(each) in actual for each in wanted)
    return isinstance(actual, list | tuple) and all(any(_same(a, w) for a in actual) for w in wanted)


def _at_least(actual: Any, least: float) -> bool:
    return isinstance(actual, int | float) and actual >= least - TOLERANCE


def _at_most(actual: Any, most: float) -> bool:
    return isinstance(actual, int | float) and actual <= most + TOLERANCE


_TESTS: Mapping[How, Callable[[Any, Any], bool]] = {
    "is": _same,
    "has": _same,
    "at least": _at_least,
    "at most": _at_most,
    "matches": _matches,
    "contains": _contains,
    "is one of": lambda actual, wanted: any(_same(actual, each) for each in wanted),
}


def _document(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _said(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    text = f"'{text}'" if isinstance(value, str) else text
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
