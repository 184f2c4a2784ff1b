"""One record becomes one output: render, ask, read the answer; ask once more if it cannot be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from loom_dagster.errors import LoomError, Outage, Permanent, Transient
from loom_dagster.gateway.question import AnswerSchema, Asks, Message, Model, Origin, Question
from loom_dagster.records import Answer, Record, digest
from loom_dagster.spec.models import Cache
from loom_dagster.transform.cache_identity import key_columns, record_identity
from loom_dagster.transform.output_schema import OutputSchema

__all__ = ["Renders", "Transformed", "Transformer"]


class Renders(Protocol):
    """A compiled prompt."""

    @property
    def name(self) -> str:
        """As it is called in lineage."""

    @property
    def version(self) -> str:
        """As the prompt file says."""

    @property
    def digest(self) -> str:
        """Of everything in the prompt file."""

    @property
    def context_digest(self) -> str:
        """Of every context file it uses."""

    def render(self, columns: Mapping[str, Any]) -> list[Message]:
        """The messages for one record; raises Permanent (``unrenderable``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformed:
    """An output that fits the schema. ``rendered_input`` is the last user message as rendered,
    ``raw`` the answer ``output`` was read from, ``answers`` every one that was paid for."""

    output: Mapping[str, Any]
    answers: tuple[Answer, ...]
    model: str
    rendered_input: str
    raw: str


class Transformer:
    """Asks ``model`` about records.

    ``salt`` separates the runs of a pipeline with ``cache: {enabled: false}``; ``asked_at`` (UNIX
    seconds) is the start of the run, from which ``cache.ttl`` is counted back.
    """

    def __init__(
        self,
        *,
        prompt: Renders,
        ask: Asks,
        model: Model,
        schema: OutputSchema,
        pipeline: str,
        cache: Cache | None = None,
        salt: str = "",
        asked_at: float = 0.0,
    ) -> None:
        self._prompt = prompt
        self._ask = ask
        self._model = model
        self._schema = schema
        self._pipeline = pipeline
        self._cache = cache or Cache()
        self._salt = "" if self._cache.enabled else salt
        self._max_age = self._cache.ttl.total_seconds() if self._cache.ttl is not None else None
        self._asked_at = asked_at
        self._answer_schema = AnswerSchema(name="output", body=schema.body) if schema.structured else None
        self._named = f"{prompt.name}@{prompt.version}"
        self._fixed_identity = digest(prompt.digest, prompt.context_digest)

    async def transform(
        self,
        record: Record,
        *,
        sample: int = 0,
        feedback: Sequence[str] = (),
        previous: str | None = None,
    ) -> Transformed:
        """The output for ``record``. ``feedback`` says what was wrong with ``previous``, the raw
        answer before; ``sample`` is then higher than it was.

        Raises what the gateway raises, and Permanent (``unrenderable``, ``empty_answer``,
        ``malformed_answer``, ``wrong_schema``); the error's ``answers`` are those paid for.
        """
        messages = self._prompt.render(record.columns)
        conversation = _Conversation(messages)
        if feedback:
            conversation = conversation.then(previous, _feedback(feedback))
        answers: list[Answer] = []
        try:
            output = await self._answered(record, conversation, sample, answers)
        except LoomError as error:
            error.answers = (*answers, *(a for a in error.answers if a not in answers))
            raise
        return Transformed(
            output=output,
            answers=tuple(answers),
            model=answers[-1].model,
            rendered_input=_last_user_message(messages),
            raw=answers[-1].text,
        )

    async def _answered(
        self, record: Record, conversation: _Conversation, sample: int, answers: list[Answer]
    ) -> dict[str, Any]:
        answers.append(await self._ask.ask(self._question(record, conversation, sample, "transform")))
        try:
            return self._schema.parse(answers[-1].text)
        except Permanent as unreadable:
            wrong = unreadable
        repair = conversation.then(answers[-1].text, self._repair_request(wrong))
        try:
            answers.append(await self._ask.ask(self._question(record, repair, sample, "repair")))
        except Outage:
            raise  # the record is fine: it is deferred, and the first answer is in the store
        except (Permanent, Transient) as failed:
            raise wrong from failed
        return self._schema.parse(answers[-1].text)

    def _question(self, record: Record, conversation: _Conversation, sample: int, purpose: str) -> Question:
        columns = key_columns(self._cache, record)
        identity = (
            record_identity(self._fixed_identity, columns, record, conversation.said) if columns else None
        )
        return Question(
            model=self._model,
            messages=conversation.messages,
            origin=Origin(pipeline=self._pipeline, record_id=record.id, purpose=purpose, prompt=self._named),
            schema=self._answer_schema,
            sample=sample,
            salt=self._salt,
            identity=identity,
            max_age=self._max_age,
            asked_at=self._asked_at,
        )

    def _repair_request(self, wrong: Permanent) -> str:
        what = f"{wrong.what}: {wrong.why}" if wrong.why else wrong.what
        return f"That cannot be used: {what}. {self._schema.to_prompt_hint()}"


class _Conversation:
    """Messages to send, and what of them was said after the rendered prompt."""

    def __init__(self, messages: Sequence[Message], said: tuple[str, ...] = ()) -> None:
        self.messages, self.said = messages, said

    def then(self, answer: str | None, request: str) -> _Conversation:
        """With the model's ``answer`` and a further ``request``. Without an answer the request joins
        the last message: providers want turns to alternate, and none to be empty."""
        if answer is not None and answer.strip():
            turns: list[Message] = [
                {"role": "assistant", "content": answer},
                {"role": "user", "content": request},
            ]
            return _Conversation([*self.messages, *turns], (*self.said, answer, request))
        *before, last = self.messages
        joined = {**last, "content": f"{last['content']}\n\n{request}"}
        return _Conversation([*before, joined], (*self.said, request))


def _feedback(explanations: Sequence[str]) -> str:
    listed = "\n".join(f"- {explanation}" for explanation in explanations)
    return f"That answer did not pass these checks:\n{listed}\nAnswer the task again, and better."


def _last_user_message(messages: Sequence[Message]) -> str:
    for message in reversed(messages):
        if message["role"] == "user":
            return message["content"]
    return messages[-1]["content"] if messages else ""
