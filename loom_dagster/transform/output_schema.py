"""The columns an answer must have: what the provider is told, and the judge of what came back."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from loom_dagster.errors import Misconfigured, Permanent
from loom_dagster.records import to_json
from loom_dagster.spec.models import FieldSpec
from loom_dagster.transform.answer_text import find_object
from loom_dagster.transform.field_types import (
    Row,
    Turn,
    arrow_type,
    coerce_object,
    conversion,
    json_schema,
    row,
)

if TYPE_CHECKING:
    import jsonschema_rs
    import pyarrow as pa

__all__ = ["OUTPUT_COLUMN", "OutputSchema"]

OUTPUT_COLUMN = "output"
_LONGEST_MESSAGE = 300


@dataclass(frozen=True, kw_only=True)
class OutputSchema:
    """Output columns by name. ``structured`` is false when the answer's text, as it is, is the
    one column ``output``."""

    fields: Mapping[str, FieldSpec]
    structured: bool = True

    @classmethod
    def of(cls, fields: Mapping[str, FieldSpec] | None) -> OutputSchema:
        """The schema of ``fields``; without any, of the text itself.

        Raises Misconfigured for a ``pattern`` that is not a regular expression.
        """
        if not fields:
            return cls(fields={OUTPUT_COLUMN: FieldSpec(type="string")}, structured=False)
        schema = cls(fields=dict(fields))
        if b'"pattern":' in orjson.dumps(schema.body):  # the one thing that can be wrong with it
            try:
                schema._validator  # noqa: B018 - compiled now, not at the first record
            except ValueError as error:
                why = str(error).partition("\n")[0]
                raise Misconfigured("a `pattern` in the output schema does not compile", why=why) from error
        return schema

    @functools.cached_property
    def body(self) -> dict[str, Any]:
        """As JSON schema (draft 2020-12), closed and with every field required."""
        return json_schema(FieldSpec(type="object", fields=dict(self.fields)))

    @functools.cached_property
    def arrow(self) -> pa.Schema:
        """As Arrow columns, all of them nullable."""
        import pyarrow as pa  # definitions load without it

        return pa.schema([pa.field(name, arrow_type(spec)) for name, spec in self.fields.items()])

    def to_prompt_hint(self) -> str:
        """What to answer with, in one paragraph for a model."""
        if not self.structured:
            return "Answer with the text that was asked for."
        schema = orjson.dumps(self.body).decode()
        return f"Answer with one JSON object and nothing else, exactly as this JSON schema says: {schema}"

    def parse(self, text: str) -> dict[str, Any]:
        """The columns in an answer, in the schema's order, as the Python values Arrow takes.

        Raises Permanent of kind ``empty_answer``, ``malformed_answer`` (no such object in it) or
        ``wrong_schema`` (with every violation in words); ``raw`` is ``text``.
        """
        if not self.structured:
            return {OUTPUT_COLUMN: _plain_text(text)}
        return self._fitted(self._document(text), raw=text)

    def check(self, output: Mapping[str, Any]) -> dict[str, Any]:
        """``output``, made by someone else than a model, as ``parse`` would give it.

        Raises Permanent (``wrong_schema``), also for a column that is not in the schema.
        """
        document = orjson.loads(to_json(output))
        extra = ", ".join(f"`{name}`" for name in document if name not in self.fields)
        if extra:
            raise Permanent(
                "the output does not fit the output schema", why=f"{extra} is not in it", kind="wrong_schema"
            )
        return self._fitted(document, raw=None)

    def _fitted(self, document: Mapping[str, Any], raw: str | None) -> dict[str, Any]:
        values = coerce_object(self._row, document)
        if self._validator.is_valid(values):
            try:
                converted = {name: turn(values[name]) for name, turn in self._conversions}
            except ValueError:
                pass  # told with all the others below
            else:
                return {**values, **converted} if converted else values
        raise Permanent(
            f"the {'answer' if raw else 'output'} does not fit the output schema",
            why="; ".join(self._violations(values)),
            kind="wrong_schema",
            raw=raw,
        )

    def _document(self, text: str) -> dict[str, Any]:
        try:
            document = orjson.loads(text)
            if type(document) is dict:
                return document
        except ValueError:
            pass  # looked for in the text next
        if not text.strip():
            raise Permanent("the answer is empty", kind="empty_answer", raw=text)
        try:
            return find_object(text, frozenset(self.fields))
        except ValueError as error:
            raise Permanent(
                "the answer is not a JSON object", why=str(error), kind="malformed_answer", raw=text
            ) from None

    def _violations(self, values: dict[str, Any]) -> list[str]:
        words = []
        for error in self._validator.iter_errors(values):
            path = error.instance_path
            if error.kind.name == "required":
                words.append(f"`{_path([*path, error.kind.as_dict()['property']])}` is missing")
            else:
                words.append(f"`{_path(path)}`: {_short(error.message)}")
        for name, turn in self._conversions:
            try:
                turn(values.get(name))
            except ValueError as error:
                words.append(f"`{name}`: {error}")
        return words

    @functools.cached_property
    def _row(self) -> Row:
        return row(self.fields)

    @functools.cached_property
    def _conversions(self) -> tuple[tuple[str, Turn], ...]:
        turns = ((name, conversion(spec)) for name, spec in self.fields.items())
        return tuple((name, turn) for name, turn in turns if turn is not None)

    @functools.cached_property
    def _validator(self) -> jsonschema_rs.Draft202012Validator:
        import jsonschema_rs  # 40 ms, and definitions load without it

        schema = json_schema(FieldSpec(type="object", fields=dict(self.fields)), int64=True)
        return jsonschema_rs.Draft202012Validator(schema, validate_formats=False)


def _plain_text(text: str) -> str:
    if not text or text.isspace():
        raise Permanent("the answer is empty", kind="empty_answer", raw=text)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Permanent(
                "the answer is not valid unicode", why=error.reason, kind="malformed_answer"
            ) from None
    return text


def _path(steps: list[str | int]) -> str:
    return "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps).lstrip(".") or "answer"


def _short(message: str) -> str:
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:150]}…{message[-140:]}"
