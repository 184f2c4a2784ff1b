"""A pipeline that asks nobody: its real prompts and its real judges, with what they would ask written down.

The answers that are in the store are read, as a run would; whatever is not there ends the record's way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loom_dagster.costs import Asked, purpose_of
from loom_dagster.errors import LoomError, Permanent
from loom_dagster.evaluate import Case, Panel
from loom_dagster.gateway import AnswerSchema, Model, Question, question_key
from loom_dagster.gateway.gateway import usable
from loom_dagster.gateway.keys import model_prefix
from loom_dagster.gateway.tokens import Tokenizer
from loom_dagster.records import Answer, Record
from loom_dagster.transform import Transformer

__all__ = ["Notebook", "Rehearsal"]


class _Unasked(Permanent):
    """The answer is not there, and nobody is asked for it."""

    kind = "unasked"


@dataclass(kw_only=True)
class Notebook:
    """Stands where the gateway stands in a run. ``stored`` looks answers up; ``counted`` gives, by purpose and model, what
    providers counted of the prompts of records that were asked before. ``invented``: which of the outputs that stand in
    for one that is not there yet is judged now."""

    stored: Callable[[bytes, float | None], Answer | None]
    tokenizer: Callable[[str], Tokenizer]
    counted: Callable[[str, str], Mapping[str, int]]
    asked: list[Asked] = field(default_factory=list)
    unasked: bool = False
    invented: int | None = None
    user: str = ""
    schemas: dict[str, AnswerSchema | None] = field(default_factory=dict)
    pairs: dict[str, list[int]] = field(default_factory=dict)
    _prefixes: dict[int, tuple[Model, Any]] = field(default_factory=dict)
    _counted: dict[str, Mapping[str, int]] = field(default_factory=dict)

    def start(self) -> None:
        """The next record."""
        self.asked, self.unasked, self.invented, self.user = [], False, None, ""

    async def ask(self, question: Question) -> Answer:
        """The stored answer. Raises Permanent for one that is of no use, and where there is none."""
        model, purpose = question.model, purpose_of(question.origin.purpose)
        if id(model) not in self._prefixes:  # a judge may have the same name and other parameters
            self._prefixes[id(model)] = model, model_prefix(model)
        _, prefix = self._prefixes[id(model)]
        since = None if question.max_age is None else question.asked_at - question.max_age
        key = question_key(question, prefix)
        answer = self.stored(key, since)
        tokens = self.tokenizer(model.name).question(question.messages, question.schema)
        self.asked.append(Asked(purpose, tokens, answer is not None, key[:8], self.invented))
        self.schemas.setdefault(purpose, question.schema)
        if purpose == question.origin.purpose:
            self._compare(purpose, question, tokens)
        if answer is None:
            if question.origin.purpose == "transform":
                self.unasked = True
                self.user = next(
                    (m["content"] for m in reversed(question.messages) if m["role"] == "user"), ""
                )
            raise _Unasked("nobody is asked")
        return usable(answer)

    def _compare(self, purpose: str, question: Question, tokens: int) -> None:
        known = self._counted.get(purpose)
        if known is None:
            known = self._counted[purpose] = self.counted(purpose, question.model.name)
        real = known.get(question.origin.record_id)
        if real:
            pair = self.pairs.setdefault(purpose, [0, 0, 0])
            pair[0] += real
            pair[1] += tokens
            pair[2] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """One model's way through a pipeline. ``outputs``: what may be judged where there is no answer yet."""

    notebook: Notebook
    transformer: Transformer
    panel: Panel | None
    outputs: Sequence[Mapping[str, Any]]

    async def look(self, record: Record) -> Sequence[Asked]:
        """What ``record`` would ask. Raises Misconfigured for what would stop a run."""
        book = self.notebook
        book.start()
        try:
            made = await self.transformer.transform(record)
            output, shown = made.output, made.rendered_input
        except Permanent:
            if not book.unasked:  # an answer that is there and of no use, or a prompt that cannot be rendered
                return book.asked
            if self.panel is None:
                return book.asked
            book.invented = record.position % len(self.outputs)
            output, shown = self.outputs[book.invented], book.user
        if self.panel is not None:
            try:
                await self.panel.judge(Case(record=record, output=output, rendered_input=shown))
            except LoomError as error:
                if not isinstance(error, Permanent):
                    raise
        return book.asked
