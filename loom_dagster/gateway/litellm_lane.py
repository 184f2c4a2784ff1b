"""Every other provider, through litellm. Slower (about 5 ms CPU a call) and always right.

litellm is imported on first use, in a thread, without letting it fetch prices or read .env files.
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from loom_dagster.errors import LoomError, Misconfigured, Permanent, Transient
from loom_dagster.gateway.failures import Place, from_status, maybe_paid, unreachable
from loom_dagster.gateway.lane import Reply
from loom_dagster.gateway.question import Message, Model, Question
from loom_dagster.records import Usage

__all__ = ["LiteLLM", "import_litellm", "reply_of"]

_QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHON_DOTENV_DISABLED": "1"}
_LOST = {"ReadError", "RemoteProtocolError", "ServerDisconnectedError"}  # of httpx, httpx and aiohttp
_IMPORTING = threading.Lock()


class LiteLLM:
    """One model through ``litellm.acompletion``; retrying stays ours."""

    def __init__(self, model: Model, *, key: str | None, key_env: str | None, structured: bool) -> None:
        self._model, self._structured = model, structured
        self._key = key
        self._used = False
        host = model.api_base or model.name.partition("/")[0]
        self._place = Place(model=model.name, host=host, key_env=key_env, key=key)

    async def close(self) -> None:
        """Close litellm's sessions of this event loop, if it has been used."""
        if self._used:
            litellm = import_litellm()
            await litellm.close_litellm_async_clients()
            litellm.in_memory_llm_clients_cache.flush_cache()  # it would give closed ones to the next run

    async def send(self, question: Question, messages: Sequence[Message]) -> Reply:
        """Ask once. Raises by class, see failures.py."""
        litellm = import_litellm() if self._used else await asyncio.to_thread(import_litellm)
        self._used = True
        try:
            async with asyncio.timeout(self._model.timeouts.total):
                answer = await litellm.acompletion(**self.arguments(question, messages))
        except TimeoutError:
            late = Transient(f"{self._place} did not answer in time", kind="timeout")
            raise maybe_paid(late) from None
        except Exception as error:  # noqa: BLE001 - whatever a provider of litellm raises
            raise self._classified(error) from None  # the chain would hold the request with its key
        try:
            return reply_of(answer)
        except (AttributeError, LookupError, TypeError):
            senseless = Transient(f"{self._place} gave something that is no completion", kind="bad_body")
            raise maybe_paid(senseless) from None

    def arguments(self, question: Question, messages: Sequence[Message]) -> dict[str, Any]:
        """Of litellm's completion."""
        model = self._model
        arguments: dict[str, Any] = {
            "model": model.name,
            "messages": [dict(m) for m in messages],
            "max_tokens": model.max_tokens,
            "max_retries": 0,
            "num_retries": 0,
            "timeout": model.timeouts.total,
            "drop_params": True,
            **model.extra,
        }
        optional = {"temperature": model.temperature, "api_base": model.api_base, "api_key": self._key}
        arguments |= {name: value for name, value in optional.items() if value is not None}
        schema = question.schema
        if schema is not None and self._structured:
            arguments["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": schema.name, "schema": dict(schema.body), "strict": schema.strict},
            }
        return arguments

    def _classified(self, error: Exception) -> LoomError:
        """By status first: litellm's classes do not tell a used-up quota from too many requests."""
        status = getattr(error, "status_code", None)
        name = type(error).__name__
        if name == "Timeout":
            return maybe_paid(Transient(f"{self._place} did not answer in time", kind="timeout"))
        broken = _broken(error)
        if broken is not None:  # litellm makes a 500 of it
            lost = unreachable(self._place, error)
            return maybe_paid(lost) if broken == "lost" else lost
        if name == "APIConnectionError" or status is None:
            if name in {"ImportError", "ModuleNotFoundError", "ValueError", "TypeError"}:
                return Misconfigured(f"{self._place} cannot be asked", why=self._place.scrub(str(error)))
            return maybe_paid(unreachable(self._place, error))
        if name == "AuthenticationError":
            status = 401
        if name == "ContextWindowExceededError":
            return Permanent(f"the prompt is too long for {self._place}", kind="too_long")
        if name == "ContentPolicyViolationError":
            return Permanent(f"{self._place} filtered the prompt", kind="content_filter")
        headers = getattr(error, "litellm_response_headers", None) or {}
        said = str(getattr(error, "body", None) or error)
        if "insufficient_quota" in said or "insufficient_quota" in str(getattr(error, "code", "")):
            status = 402
        return from_status(self._place, int(status), said, {str(k): str(v) for k, v in dict(headers).items()})


def _broken(error: BaseException) -> str | None:
    """``refused`` or ``lost``, when ``error`` began as such a connection, whichever client litellm used."""
    cause: BaseException | None = error
    while cause is not None:
        name = type(cause).__name__
        if isinstance(cause, ConnectionRefusedError) or name in {"ClientConnectorError", "ConnectError"}:
            return "refused"
        if isinstance(cause, ConnectionError) or name in _LOST:
            return "lost"
        cause = cause.__cause__ or cause.__context__
    return None


def import_litellm() -> Any:
    """The module, imported without network and without .env files. Heavy: 4 s."""
    with _IMPORTING:  # two threads would take each other's environment for the one to restore
        return _import_litellm()


@functools.cache
def _import_litellm() -> Any:
    with _environment(), warnings.catch_warnings():
        # pydantic warns of its models, which are put together when the first one is made: where warnings are errors,
        # there would be no answer
        warnings.simplefilter("ignore")
        import litellm

        litellm.ModelResponse()
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    # read when a model of Anthropic's is first asked, not at import; without it, a file from the network
    os.environ.setdefault("LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "True")
    return litellm


@contextmanager
def _environment() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _QUIET}
    os.environ.update(_QUIET)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def reply_of(answer: Any) -> Reply:
    """A ``ModelResponse`` of litellm in our words. Raises AttributeError, LookupError or TypeError."""
    choice, usage = answer.choices[0], getattr(answer, "usage", None)
    details = getattr(usage, "prompt_tokens_details", None)
    refusal = (getattr(choice.message, "provider_specific_fields", None) or {}).get("refusal")
    text = str(refusal or choice.message.content or "")
    return Reply(
        text=text.encode("utf-8", "replace").decode(),  # half a surrogate pair is no text
        finish="refused" if refusal else str(choice.finish_reason or "stop"),
        usage=Usage(
            input_tokens=int(getattr(usage, "prompt_tokens", 0) or 0),
            output_tokens=int(getattr(usage, "completion_tokens", 0) or 0),
            cached_tokens=int(getattr(details, "cached_tokens", 0) or 0),
        ),
    )
