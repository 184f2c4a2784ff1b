"""The agent Arbiter's evaluators talk to, in place of pydantic-ai's: it asks the gateway.

So a judge's call is stored, priced, budgeted and limited like any other, and costs no client, no
connection and no SSL context of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from loom_dagster.errors import Permanent
from loom_dagster.gateway.question import AnswerSchema, Asks, Message, Model, Origin, Question
from loom_dagster.records import Answer

__all__ = ["CALL", "Call", "JudgeAgent", "JudgeClient", "Terms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Under which terms an evaluator asks: see Question."""

    pipeline: str
    salt: str = ""
    max_age: float | None = None
    asked_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """For whom a judge is asked now, and where the answers go."""

    record_id: str
    sample: int
    answers: list[Answer]


CALL: ContextVar[Call] = ContextVar("loom_judge_call")  # Arbiter hands nothing through


@dataclass(frozen=True, slots=True)
class _Result:
    output: BaseModel

    def usage(self) -> None:
        """Arbiter asks for it; tokens and cost are counted by the gateway."""


class JudgeClient:
    """What an evaluator of Arbiter needs of its LLMClient. ``focus`` goes into the system message:
    criteria that Arbiter itself drops."""

    def __init__(self, *, name: str, ask: Asks, model: Model, terms: Terms, focus: str | None = None) -> None:
        self.model = model.name
        self._name = name
        self._ask = ask
        self._asked = model
        self._terms = terms
        self._focus = f"\n\nPay special attention to these criteria:\n{focus}" if focus else ""
        self._agents: dict[type[BaseModel], JudgeAgent] = {}

    def create_agent(self, system_prompt: str, result_type: type[BaseModel]) -> JudgeAgent:
        """The agent for ``result_type``; an evaluator's system prompt never changes."""
        agent = self._agents.get(result_type)
        if agent is None:
            agent = self._agents[result_type] = JudgeAgent(system_prompt + self._focus, result_type, self)
        return agent

    async def ask(self, messages: Sequence[Message], schema: AnswerSchema, *, repair: bool) -> Answer:
        """One answer for the record at hand. Raises what the gateway raises."""
        call = CALL.get()
        purpose = f"evaluate:{self._name}:repair" if repair else f"evaluate:{self._name}"
        answer = await self._ask.ask(
            Question(
                model=self._asked,
                messages=messages,
                origin=Origin(pipeline=self._terms.pipeline, record_id=call.record_id, purpose=purpose),
                schema=schema,
                sample=call.sample,
                salt=self._terms.salt,
                max_age=self._terms.max_age,
                asked_at=self._terms.asked_at,
            )
        )
        call.answers.append(answer)
        return answer


class JudgeAgent:
    """One system prompt and one shape of answer."""

    def __init__(self, system_prompt: str, result_type: type[BaseModel], client: JudgeClient) -> None:
        self._result_type = result_type
        self._client = client
        body = result_type.model_json_schema()
        self._schema = AnswerSchema(name=result_type.__name__, body=body, strict=False)
        self._shape = _shape(body)
        self._system: Message = {"role": "system", "content": f"{system_prompt}\n\n{self._shape}"}

    async def run(self, prompt: str) -> _Result:
        """The judge's answer to ``prompt``, after one repair call if the first cannot be used.

        Raises what the gateway raises, and Permanent (``malformed_answer``).
        """
        asked: Message = {"role": "user", "content": prompt}
        first = await self._client.ask([self._system, asked], self._schema, repair=False)
        try:
            return _Result(_read(self._result_type, first.text))
        except ValueError as error:
            request = f"That answer cannot be used: {_words(error)}. {self._shape}"
        messages: list[Message] = [self._system, {"role": "user", "content": f"{prompt}\n\n{request}"}]
        if first.text.strip():  # providers take no empty turn
            said: Message = {"role": "assistant", "content": first.text}
            messages = [self._system, asked, said, {"role": "user", "content": request}]
        second = await self._client.ask(messages, self._schema, repair=True)
        try:
            return _Result(_read(self._result_type, second.text))
        except ValueError as error:
            raise Permanent(
                "its answer cannot be used", why=_words(error), kind="malformed_answer", raw=second.text
            ) from None


def _read(result_type: type[BaseModel], text: str) -> BaseModel:
    """The answer in ``text``: plain JSON, else the object in it without keys nobody asked for."""
    try:
        return result_type.model_validate_json(text)
    except ValidationError as error:
        document = _object_in(text)
        if document is None:
            raise
        known = {name: value for name, value in document.items() if name in result_type.model_fields}
        try:
            return result_type.model_validate(known)
        except ValidationError as rejected:
            raise rejected from error


def _object_in(text: str) -> dict[str, Any] | None:
    """The one object in ``text``. None, and so a repair call, when one is broken or two differ:
    a score is never guessed."""
    decoder = json.JSONDecoder()
    found: dict[str, Any] | None = None
    start = text.find("{")
    while start >= 0:
        try:
            document, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            return None
        if found is not None and document != found:
            return None
        found, start = document, text.find("{", end)
    return found


def _words(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(": ".join(filter(None, (".".join(map(str, e["loc"])), e["msg"]))) for e in found)


def _shape(body: dict[str, Any]) -> str:
    """The answer's form in a sentence: not every model takes a schema."""
    fields = ", ".join(f'"{name}": {_kind(field)}' for name, field in body["properties"].items())
    return (
        f"Answer with one JSON object and nothing else: {{{fields}}}. "
        "At least one list has an entry, unless the score is exactly 0 or 1."
    )


def _kind(field: dict[str, Any]) -> str:
    kind = str(field.get("type", "string"))
    if kind == "array":
        return f"[{_kind(field.get('items', {}))}, ...]"
    if kind == "object":
        return "{string: string, ...}"
    return "number from 0 to 1" if "maximum" in field else kind
