"""A prompt file: optional front matter between ``---`` lines, then the template.

The digest is of the whole text with plain line ends, so that a checkout on Windows has the same one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from loom_dagster.errors import Misconfigured, Problem
from loom_dagster.spec import (
    Block,
    Document,
    Fields,
    FieldSpec,
    Name,
    as_problems,
    explain,
    read_text,
    read_yaml,
    refusal,
    resolve,
    shown_path,
)

__all__ = [
    "ExampleSpec",
    "FrontMatter",
    "PromptFile",
    "content_digest",
    "example_value",
    "parse_prompt",
    "read_prompt",
    "split_front_matter",
]


def _text_or_mapping(value: Any) -> Any:
    if isinstance(value, dict | str):
        return value
    raise ValueError("is neither a text nor a mapping of columns")


def _names(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, dict) else value


class ExampleSpec(Block):
    """One few-shot example. ``input``: columns, or the user's message as it is."""

    input: Annotated[dict[str, Any] | str, BeforeValidator(_text_or_mapping)]
    output: Annotated[dict[str, Any] | str, BeforeValidator(_text_or_mapping)]


class FrontMatter(Block):
    """What a prompt says of itself. ``schema`` (or ``output``): its output columns."""

    version: Name | None = None
    description: str | None = None
    system: str | None = None
    schema_: Fields | None = Field(default=None, alias="schema", min_length=1)
    output: Fields | None = Field(default=None, min_length=1)
    examples: tuple[ExampleSpec, ...] = ()
    variables: Annotated[tuple[str, ...] | None, BeforeValidator(_names)] = None

    @model_validator(mode="after")
    def _one_schema(self) -> FrontMatter:
        if self.schema_ is not None and self.output is not None:
            raise ValueError("`schema` and `output` mean the same; keep one")
        return self

    @property
    def fields(self) -> Mapping[str, FieldSpec] | None:
        """The output columns, if the prompt says them."""
        return self.schema_ or self.output


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFile:
    """A prompt as it lies on disk: its whole ``text``, of which ``body`` begins at line ``first_line``."""

    name: str
    path: Path
    file: str
    digest: str
    front: FrontMatter
    document: Document | None = field(repr=False)
    body: str = field(repr=False)
    first_line: int
    text: str = field(repr=False)

    def where(self, *loc: str | int) -> str:
        """``file:line`` of something in the front matter."""
        return self.document.where(*loc) if self.document else f"{self.file}:1"

    def where_in_body(self, line: int) -> str:
        """``file:line`` of a line of the template."""
        return f"{self.file}:{line + self.first_line - 1}"

    def where_in_system(self, line: int) -> str:
        """``file:line`` of a line of the system message."""
        node = self.document.node("system") if self.document else None
        return f"{self.file}:{node.line + line - (0 if node.block else 1)}" if node else f"{self.file}:1"


def content_digest(text: str) -> str:
    """SHA-256 (hex) of a text whose line ends are plain."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def split_front_matter(text: str, file: str) -> tuple[str | None, str, int]:
    """Front matter (None: there is none), the rest, and the line the rest begins at.

    Raises Misconfigured when the front matter has no end.
    """
    lines = text.split("\n")
    if lines[0].rstrip() != "---":
        return None, text, 1
    for index, line in enumerate(lines[1:], start=1):
        if line.rstrip() == "---":
            return "\n".join(lines[1:index]), "\n".join(lines[index + 1 :]), index + 2
    raise Misconfigured(
        "the front matter that begins here has no end", where=f"{file}:1", fix="end it with a line `---`"
    )


def read_prompt(path: Path, root: Path, prompts: Path) -> PromptFile:
    """Read a prompt; its name is its path below ``prompts`` (else ``root``) without the ending.

    Raises Misconfigured with every problem of the front matter.
    """
    named = shown_path(path.with_suffix(""), prompts if path.is_relative_to(prompts) else root)
    return parse_prompt(read_text(path, root), name=named, path=path, file=shown_path(path, root))


def parse_prompt(text: str, *, name: str, path: Path, file: str) -> PromptFile:
    """The prompt in ``text``; ``file`` is how messages call it. Raises like ``read_prompt``."""
    front_text, body, first_line = split_front_matter(text, file)
    document, front = None, FrontMatter()
    if front_text is not None and _says_something(front_text):
        document = read_yaml(front_text, file=file, first_line=2)
        front = _front_matter(document)
    if not body.strip():
        what = "the prompt is empty"
        raise Misconfigured(what, where=file, problems=(Problem(what=what, where=file),))
    return PromptFile(
        name=name,
        path=path,
        file=file,
        digest=content_digest(text),
        front=front,
        document=document,
        body=body,
        first_line=first_line,
        text=text,
    )


def _says_something(front_text: str) -> bool:
    lines = (line.strip() for line in front_text.split("\n"))
    return any(line and not line.startswith("#") for line in lines)


def _front_matter(document: Document) -> FrontMatter:
    findings = list(document.findings)
    front = FrontMatter()
    try:
        front = FrontMatter.model_validate(document.tree)
    except ValidationError as error:
        findings += explain(error, FrontMatter, document)
    if findings:
        raise refusal(as_problems(document.file, findings), "the front matter has problems")
    return front


def example_value(value: Any, field_spec: FieldSpec | None) -> Any:
    """A value of an example as YAML means it, but text where the column is one."""
    if field_spec is not None and field_spec.type == "string" and isinstance(value, str):
        return str(value)
    return resolve(value)
