"""A prompt ready for use: its template compiled, its contexts in place, its examples rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from loom_dagster.errors import Problem
from loom_dagster.prompts.template import Template
from loom_dagster.spec import FieldSpec, nearest

__all__ = ["Example", "Message", "Prompt", "TextFile"]

Message = Mapping[str, str]
"""{"role": "system" | "user" | "assistant", "content": text}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One few-shot example as it stands in the messages: the user's text and the answer."""

    input: str
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """A file that a pipeline's questions are made of: its prompt, or a context. ``digest`` is of its whole ``text``."""

    kind: Literal["prompt", "context"]
    name: str
    path: Path
    version: str
    digest: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prompt:
    """``digest`` (hex) is of everything in the prompt file, ``context_digest`` of the contexts it uses.

    ``version``: front matter, else the pipeline's ``prompt_version``, else 12 digits of the digest.
    ``texts``: its own file and those of its contexts. ``fields`` are the output columns of the front matter; None if it says none.
    """

    name: str
    version: str
    digest: str
    path: Path
    columns: frozenset[str]
    contexts: Mapping[str, str]
    context_digest: str
    texts: tuple[TextFile, ...]
    fields: Mapping[str, FieldSpec] | None
    examples: tuple[Example, ...]
    _system: Template | None = field(repr=False)
    _user: Template = field(repr=False)
    _shots: tuple[Message, ...] = field(repr=False)

    def check_columns(self, columns: Sequence[str]) -> tuple[Problem, ...]:
        """A problem for each column the prompt names and the source does not have."""
        used = {**(self._system.columns if self._system else {}), **self._user.columns}
        return tuple(
            Problem(what=f"the source has no column `{name}`", where=used[name], fix=nearest(name, columns))
            for name in sorted(used)
            if name not in columns
        )

    def nulls(self, columns: Mapping[str, Any]) -> tuple[str, ...]:
        """The columns that are null in this record and render as nothing without the prompt saying so
        (by ``default`` or a condition)."""
        return tuple(name for name in sorted(self.needed) if columns.get(name) is None)

    def render(self, columns: Mapping[str, Any]) -> list[Message]:
        """[system?, (user, assistant) of each example, user] for one record.

        Raises Permanent (kind ``unrenderable``) naming the column or the line.
        """
        messages: list[Message] = []
        if self._system is not None:
            messages.append({"role": "system", "content": self._system.render(columns)})
        messages += self._shots
        messages.append({"role": "user", "content": self._user.render(columns)})
        return messages

    @property
    def needed(self) -> frozenset[str]:
        """The columns without which it cannot be rendered: the prompt does not say what stands in for them."""
        return self.columns - self._user.handled - (self._system.handled if self._system else frozenset())
