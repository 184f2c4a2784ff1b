"""The providers that are asked both ways, and what each says when something is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.servers.providers import ProviderServer

__all__ = ["SPEAKERS", "Failure", "Speaker"]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An error of a provider in its own shape, and the class and kind it has to become.

    ``lost``: what it becomes through litellm, where litellm keeps too little of it."""

    status: int
    body: Any
    error: str
    kind: str
    headers: Mapping[str, str] = field(default_factory=dict)
    lost: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """A provider, one of its models, the format of its answers, and where its address goes on after the port.

    ``reasoning``: a model that thinks; ``known_as``: what litellm's completion calls the model, where it does
    not know the provider's word; ``failures``: by name."""

    provider: str
    model: str
    form: str = "openai"
    path: str = "/v1"
    reasoning: str | None = None
    known_as: str | None = None
    failures: Mapping[str, Failure] = field(default_factory=dict)

    def base(self, server: ProviderServer) -> str:
        return f"{server.url}{self.path}"


def _openai_error(
    status: int, code: str | None, message: str, kind: str = "invalid_request_error"
) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _openai_failures(**others: Failure) -> dict[str, Failure]:
    def failure(status: int, code: str | None, message: str, error: str, kind: str, **more: Any) -> Failure:
        return Failure(
            status=status, body=_openai_error(status, code, message), error=error, kind=kind, **more
        )

    return {
        "400": failure(400, None, "Unknown parameter: 'frobnicate'.", "Rejected", "bad_request"),
        "401": failure(
            401,
            "invalid_api_key",
            "Incorrect API key provided: sk-abcdefgh.",
            "Misconfigured",
            "unauthorized",
        ),
        "404": failure(404, "model_not_found", "The model `m` does not exist.", "Misconfigured", "not_found"),
        "408": failure(408, None, "Request timeout.", "Transient", "timeout"),
        "429": failure(
            429,
            "rate_limit_exceeded",
            "Rate limit reached for requests.",
            "Throttled",
            "rate_limit",
            headers={"Retry-After": "7"},
        ),
        "500": failure(500, None, "The server had an error.", "Transient", "server_error"),
        "503": failure(503, None, "The engine is overloaded.", "Unreachable", "server_error"),
        "too long": failure(
            400,
            "context_length_exceeded",
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
            "Permanent",
            "too_long",
        ),
        "filtered": failure(
            400,
            "content_policy_violation",
            "Your request was rejected as a result of our safety system.",
            "Permanent",
            "content_filter",
        ),
        "quota": failure(
            429, "insufficient_quota", "You exceeded your current quota.", "Misconfigured", "quota"
        ),
        **others,
    }


_AZURE = _openai_failures(
    **{
        "401": Failure(
            status=401,
            body={"error": {"code": "401", "message": "Access denied due to invalid subscription key."}},
            error="Misconfigured",
            kind="unauthorized",
        ),
        "404": Failure(
            status=404,
            body={
                "error": {
                    "code": "DeploymentNotFound",
                    "message": "The API deployment for this resource does not exist.",
                }
            },
            error="Misconfigured",
            kind="not_found",
        ),
        "filtered": Failure(
            status=400,
            body={
                "error": {
                    "message": "The response was filtered due to the prompt triggering Azure OpenAI's content "
                    "management policy.",
                    "type": None,
                    "param": "prompt",
                    "code": "content_filter",
                    "status": 400,
                    "innererror": {
                        "code": "ResponsibleAIPolicyViolation",
                        "content_filter_result": {"hate": {"filtered": True, "severity": "high"}},
                    },
                }
            },
            error="Permanent",
            kind="content_filter",
        ),
        "quota": Failure(
            status=429,
            body=_openai_error(429, "insufficient_quota", "You exceeded your current quota."),
            error="Misconfigured",
            kind="quota",
            lost=("Throttled", "rate_limit"),  # the code; and Gemini has the same words for too many requests
        ),
    }
)
_GROQ = _openai_failures(
    **{
        "too long": Failure(
            status=400,
            body=_openai_error(
                400,
                "context_length_exceeded",
                "Please reduce the length of the messages or completion.",
            ),
            error="Permanent",
            kind="too_long",
        )
    }
)


def _mistral(status: int, message: str, kind: str = "invalid_request_error", code: Any = "1000") -> Any:
    return {"object": "error", "message": message, "type": kind, "param": None, "code": code}


_MISTRAL = {
    "400": Failure(
        status=400,
        body=_mistral(400, "Invalid model parameter."),
        error="Rejected",
        kind="bad_request",
    ),
    "401": Failure(status=401, body={"detail": "Unauthorized"}, error="Misconfigured", kind="unauthorized"),
    "404": Failure(status=404, body={"detail": "Not Found"}, error="Misconfigured", kind="not_found"),
    "408": Failure(status=408, body={"message": "timeout"}, error="Transient", kind="timeout"),
    "422": Failure(
        status=422,
        body={"object": "error", "message": {"detail": [{"loc": ["body", "top_p"], "msg": "too large"}]}},
        error="Rejected",
        kind="bad_request",
    ),
    "429": Failure(
        status=429,
        body={"message": "Requests rate limit exceeded"},
        headers={"Retry-After": "7"},
        error="Throttled",
        kind="rate_limit",
    ),
    "500": Failure(
        status=500, body=_mistral(500, "Internal server error"), error="Transient", kind="server_error"
    ),
    "503": Failure(
        status=503, body=_mistral(503, "Service unavailable"), error="Unreachable", kind="server_error"
    ),
    "too long": Failure(
        status=400,
        body=_mistral(
            400,
            "Prompt contains 40961 tokens and 0 draft tokens, too large for model with 32768 maximum context "
            "length",
            code="3051",
        ),
        error="Permanent",
        kind="too_long",
    ),
}


def _anthropic(status: int, kind: str, message: str, error: str, outcome: str, **more: Any) -> Failure:
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    return Failure(status=status, body=body, error=error, kind=outcome, **more)


_ANTHROPIC = {
    "400": _anthropic(400, "invalid_request_error", "top_p: must be at most 1", "Rejected", "bad_request"),
    "401": _anthropic(401, "authentication_error", "invalid x-api-key", "Misconfigured", "unauthorized"),
    "403": _anthropic(403, "permission_error", "not for you", "Misconfigured", "unauthorized"),
    "404": _anthropic(404, "not_found_error", "model: claude-x", "Misconfigured", "not_found"),
    "408": _anthropic(408, "timeout_error", "timeout", "Transient", "timeout"),
    "413": _anthropic(413, "request_too_large", "Request exceeds the maximum size", "Permanent", "too_long"),
    "429": _anthropic(
        429,
        "rate_limit_error",
        "This request would exceed your rate limit",
        "Throttled",
        "rate_limit",
        headers={"retry-after": "7"},
    ),
    "500": _anthropic(500, "api_error", "Internal server error", "Transient", "server_error"),
    "529": _anthropic(529, "overloaded_error", "Overloaded", "Transient", "server_error"),
    "too long": _anthropic(
        400,
        "invalid_request_error",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "Permanent",
        "too_long",
    ),
    "filtered": _anthropic(
        400,
        "invalid_request_error",
        "Output blocked by content filtering policy",
        "Permanent",
        "content_filter",
    ),
    "quota": _anthropic(
        400,
        "invalid_request_error",
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.",
        "Misconfigured",
        "quota",
    ),
}


def _gemini(code: int, status: str, message: str, error: str, kind: str, **more: Any) -> Failure:
    body = {"error": {"code": code, "message": message, "status": status}}
    return Failure(status=code, body=body, error=error, kind=kind, **more)


_GEMINI = {
    "400": _gemini(400, "INVALID_ARGUMENT", "Invalid JSON payload received.", "Rejected", "bad_request"),
    "401": _gemini(
        400,
        "INVALID_ARGUMENT",
        "API key not valid. Please pass a valid API key.",
        "Misconfigured",
        "unauthorized",
    ),
    "403": _gemini(403, "PERMISSION_DENIED", "not for you", "Misconfigured", "unauthorized"),
    "404": _gemini(
        404, "NOT_FOUND", "models/m is not found for API version v1beta", "Misconfigured", "not_found"
    ),
    "408": _gemini(408, "DEADLINE_EXCEEDED", "timeout", "Transient", "timeout"),
    "429": _gemini(
        429,
        "RESOURCE_EXHAUSTED",
        "Resource has been exhausted.",
        "Throttled",
        "rate_limit",
        headers={"Retry-After": "7"},
    ),
    "500": _gemini(500, "INTERNAL", "An internal error has occurred.", "Transient", "server_error"),
    "503": _gemini(
        503,
        "UNAVAILABLE",
        "The model is overloaded.",
        "Unreachable",
        "server_error",
        lost=("Transient", "server_error"),  # the status: litellm makes a 500 of it
    ),
    "429 in words of a quota": _gemini(
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details. Please retry in 7s.",
        "Throttled",
        "rate_limit",
    ),
    "too long": _gemini(
        400,
        "INVALID_ARGUMENT",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        "Permanent",
        "too_long",
    ),
}


def _ollama(status: int, message: str, error: str, kind: str, **more: Any) -> Failure:
    return Failure(status=status, body={"error": message}, error=error, kind=kind, **more)


_OLLAMA = {
    "400": _ollama(400, "invalid options: frobnicate", "Rejected", "bad_request"),
    "401": _ollama(401, "unauthorized", "Misconfigured", "unauthorized"),
    "404": _ollama(404, "model 'm' not found", "Misconfigured", "not_found"),
    "408": _ollama(408, "timeout", "Transient", "timeout"),
    "429": _ollama(429, "too many requests", "Throttled", "rate_limit", headers={"Retry-After": "7"}),
    "500": _ollama(500, "llama runner process has terminated", "Transient", "server_error"),
    "503": _ollama(503, "server busy, maximum pending requests exceeded", "Unreachable", "server_error"),
}

_VLLM = _openai_failures(
    **{
        "too long": Failure(
            status=400,
            body={
                "object": "error",
                "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            },
            error="Permanent",
            kind="too_long",
        ),
        "404": Failure(
            status=404,
            body={
                "object": "error",
                "message": "The model `m` does not exist.",
                "type": "NotFoundError",
                "param": None,
                "code": 404,
            },
            error="Misconfigured",
            kind="not_found",
        ),
    }
)

SPEAKERS: tuple[Speaker, ...] = (
    Speaker(
        provider="openai",
        model="openai/gpt-4o-mini",
        reasoning="openai/o3-mini",
        failures=_openai_failures(),
    ),
    Speaker(provider="azure", model="azure/gpt-4o-mini", path="", reasoning="azure/o3-mini", failures=_AZURE),
    Speaker(
        provider="groq",
        model="groq/openai/gpt-oss-20b",
        form="groq",
        path="/openai/v1",
        reasoning="groq/openai/gpt-oss-120b",
        failures=_GROQ,
    ),
    Speaker(
        provider="mistral",
        model="mistral/mistral-small-latest",
        form="mistral",
        reasoning="mistral/magistral-medium-latest",
        failures=_MISTRAL,
    ),
    Speaker(
        provider="deepseek",
        model="deepseek/deepseek-chat",
        form="deepseek",
        path="/beta",
        reasoning="deepseek/deepseek-reasoner",
        failures=_openai_failures(),
    ),
    Speaker(
        provider="together_ai",
        model="together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo",
        reasoning="together_ai/openai/gpt-oss-20b",
        failures=_openai_failures(),
    ),
    Speaker(provider="hosted_vllm", model="hosted_vllm/org/mine", failures=_VLLM),
    Speaker(provider="openai_like", model="openai_like/org/mine", known_as="openai/org/mine", failures=_VLLM),
    Speaker(provider="lm_studio", model="lm_studio/mine", failures=_VLLM),
    Speaker(
        provider="anthropic",
        model="anthropic/claude-sonnet-4-5",
        form="anthropic",
        path="",
        reasoning="anthropic/claude-opus-4-7",
        failures=_ANTHROPIC,
    ),
    Speaker(
        provider="gemini",
        model="gemini/gemini-2.5-flash",
        form="gemini",
        path="",
        reasoning="gemini/gemini-3.1-flash-lite-preview",
        failures=_GEMINI,
    ),
    Speaker(provider="ollama_chat", model="ollama_chat/llama3", form="ollama", path="", failures=_OLLAMA),
    Speaker(provider="ollama", model="ollama/llama3", form="ollama_generate", path="", failures=_OLLAMA),
    Speaker(
        provider="xai",
        model="xai/grok-4",
        form="xai",
        reasoning="xai/grok-3-mini",
        failures=_openai_failures(),
    ),
    Speaker(
        provider="openrouter",
        model="openrouter/openai/gpt-4o-mini",
        form="openrouter",
        path="/api/v1",
        reasoning="openrouter/openai/o3-mini",
        failures=_openai_failures(),
    ),
)
