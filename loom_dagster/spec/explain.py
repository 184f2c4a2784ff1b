"""pydantic's errors in the words of someone who wrote a YAML file."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from loom_dagster.spec.findings import Finding, nearest
from loom_dagster.spec.models import Pipeline
from loom_dagster.spec.reader import Document
from loom_dagster.spec.spellings import PRESETS

__all__ = ["explain"]

Loc = tuple[str | int, ...]


def explain(error: ValidationError, model: type[BaseModel], document: Document) -> list[Finding]:
    """A finding for each error, unless its line has been complained about already."""
    taken = {finding.line for finding in document.findings}
    findings: dict[tuple[int, str], Finding] = {}
    for detail in error.errors(include_url=False):
        loc: Loc = detail["loc"]
        line = document.line(*loc)
        if line in taken:
            continue
        place = _Place(model, loc)
        what, fix = _words(detail, place)
        findings.setdefault((line, place.path), Finding(line, what, fix))
    return list(findings.values())


class _Place:
    """A loc of pydantic followed through the models: which tokens are the user's, what may stand there."""

    def __init__(self, model: type[BaseModel], loc: Loc) -> None:
        self.tokens: list[str | int] = []
        self.types: list[Any] = [model]
        self.bounds: dict[str, float] = {}
        self.parents: list[Any] = [model]
        for index, token in enumerate(loc):
            self._step(token, last=index == len(loc) - 1)

    @property
    def path(self) -> str:
        text = ""
        for token in self.tokens:
            text += f"[{token}]" if isinstance(token, int) else f".{token}" if text else token
        return text

    @property
    def known(self) -> list[str]:
        """The keys that may stand beside the last token."""
        return sorted({k for m in self.parents if _is_model(m) for k in _keys(m)})

    def _step(self, token: str | int, *, last: bool) -> None:
        inner: list[Any] = []
        bounds: dict[str, float] = {}
        for each in self.types:
            annotation = _child(each, token)
            if annotation is not None:
                opened, found = _open(annotation)
                inner += opened
                bounds |= found
        tagged = [m for m in self.types if _is_model(m) and token in _tags(m)]
        if inner:
            self.parents, self.types, self.bounds = self.types, inner, bounds
        elif tagged:
            self.types = tagged
            return
        elif not last or any(c in str(token) for c in "[]'"):
            return  # one of pydantic's own tags
        else:
            self.parents = self.types
        self.tokens.append(token)


def _child(holder: Any, token: str | int) -> Any:
    if _is_model(holder):
        return _keys(holder).get(str(token))
    origin, args = get_origin(holder), get_args(holder)
    if origin in (tuple, list) and isinstance(token, int):
        return args[0]
    if origin is dict and isinstance(token, str) and "[" not in token:
        return args[1]
    return None


def _open(annotation: Any) -> tuple[list[Any], dict[str, float]]:
    """The plain types inside an annotation, and the bounds on numbers it states."""
    if isinstance(annotation, FieldInfo):
        opened, bounds = _open(annotation.annotation)
        return opened, bounds | _bounds(annotation.metadata)
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        opened, bounds = _open(inner)
        return opened, bounds | _bounds(metadata)
    if origin in (Union, types.UnionType):
        opened, bounds = [], {}
        for arg in get_args(annotation):
            more, found = _open(arg)
            opened += more
            bounds |= found
        return opened, bounds
    return [annotation], {}


def _bounds(metadata: Sequence[Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for item in metadata:
        if isinstance(item, FieldInfo):
            found |= _bounds(item.metadata)
        for name in ("ge", "gt", "le", "lt"):
            value = getattr(item, name, None)
            if isinstance(value, int | float):
                found[name] = value
    return found


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("type")
    return get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()


Words = tuple[str, str | Callable[[], str | None] | None]


def _words(detail: ErrorDetails, place: _Place) -> Words:
    kind, value = detail["type"], detail["input"]
    context: Mapping[str, Any] = detail.get("ctx", {})
    path, last = place.path, str(place.tokens[-1]) if place.tokens else ""
    if kind == "extra_forbidden":
        block = path.rpartition(".")[0]
        inside = f" in `{block}`" if block else ""
        return f"unknown key `{last}`{inside}", lambda: _advice(last, place.known, block)
    if kind == "missing":
        return f"`{path}` is missing", None
    if kind == "value_error":
        return f"`{path}`: {context['error']}" if path else str(context["error"]), None
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _evaluator_type(context.get("tag"), path)
    if value is None:
        return f"`{path}` is empty", "give it a value or remove the line"
    if kind == "literal_error":
        choices = _choices(place)
        return f"`{path}` is {_shown(value)}", lambda: nearest(str(value), choices)
    if wanted := _WANTED.get(kind) or _range(kind, place.bounds):
        return f"`{path}` must be {wanted}, it is {_shown(value)}", None
    return f"`{path}`: {detail['msg']}", None


_WANTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping (`key: value` lines)",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller number",
    "int_type": "a whole number",
    "mapping_type": "a mapping (`key: value` lines)",
    "model_attributes_type": "a mapping (`key: value` lines)",
    "model_type": "a mapping (`key: value` lines)",
    "string_too_long": "at most 200 characters long",
    "string_too_short": "a text that is not empty",
    "string_type": "a text",
    "too_short": "a list with something in it",
    "tuple_type": "a list",
}


def _range(kind: str, bounds: Mapping[str, float]) -> str | None:
    if kind not in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return None
    if {"ge", "le"} <= bounds.keys():
        return f"between {_number(bounds['ge'])} and {_number(bounds['le'])}"
    words = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}
    return " and ".join(f"{words[name]} {_number(bounds[name])}" for name in words if name in bounds) or None


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else str(value)


def _choices(place: _Place) -> list[str]:
    return [str(c) for t in place.types if get_origin(t) is Literal for c in get_args(t)]


def _evaluator_type(tag: object, path: str) -> Words:
    known = sorted({*_evaluator_types(), *PRESETS})
    if tag is None:
        return f"`{path}` has no `type`", f"known: {', '.join(known)}"
    return f"`{path}.type` is `{tag}`, which no evaluator is called", lambda: nearest(str(tag), known)


def _evaluator_types() -> list[str]:
    place = _Place(Pipeline, ("evaluate", "evaluators", 0))
    return [tag for model in place.types if _is_model(model) for tag in _tags(model)]


def _advice(key: str, known: Sequence[str], block: str) -> str | None:
    if key not in known and (near := nearest(key, known, others=False)):
        return near
    homes = [
        name
        for name, field in _keys(Pipeline).items()
        if name != block and any(_is_model(t) and key in _keys(t) for t in _open(field)[0])
    ]
    if homes:
        return f"`{key}` belongs under {' or '.join(f'`{home}`' for home in homes)}"
    return nearest(key, known)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = str(value)
    return f"`{text if len(text) <= 60 else text[:57] + '...'}`"
