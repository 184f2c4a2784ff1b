"""Which lane each provider takes, and the words of its address and key.

A lane stands here only where tests/gateway/parity shows that it sends and reads what litellm's own
completion does. Whoever is not named goes through litellm as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["PROVIDERS", "UNKNOWN", "Provider", "Way"]


class Way(StrEnum):
    """How a model is asked, in the words that ``loom validate`` uses."""

    OFFLINE = "in process"
    WIRE = "OpenAI wire"
    CONFIG = "litellm's configuration, own connection"
    LITELLM = "litellm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """``base``: its address unless ``bases``, variables, name another; ``keys``: variables that may hold its
    key; ``keyless``: it may do without; ``renamed``: its words for parameters; ``batches``: whose batch API it has. litellm knows the addresses
    of those it is asked about."""

    way: Way = Way.LITELLM
    base: str | None = None
    bases: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    keyless: bool = False
    renamed: Mapping[str, str] = field(default_factory=dict)
    batches: str | None = None


PROVIDERS: Mapping[str, Provider] = {
    "openai": Provider(
        way=Way.WIRE,
        base="https://api.openai.com/v1",
        bases=("OPENAI_BASE_URL", "OPENAI_API_BASE"),
        keys=("OPENAI_API_KEY",),
        batches="openai",
    ),
    "azure": Provider(
        way=Way.WIRE, bases=("AZURE_API_BASE",), keys=("AZURE_API_KEY", "AZURE_OPENAI_API_KEY")
    ),
    "groq": Provider(
        way=Way.WIRE,
        base="https://api.groq.com/openai/v1",
        bases=("GROQ_API_BASE",),
        keys=("GROQ_API_KEY",),
    ),
    "mistral": Provider(
        way=Way.WIRE,
        base="https://api.mistral.ai/v1",
        bases=("MISTRAL_API_BASE",),
        keys=("MISTRAL_API_KEY",),
        renamed={"seed": "random_seed"},
    ),
    "deepseek": Provider(
        way=Way.WIRE,
        base="https://api.deepseek.com/beta",
        bases=("DEEPSEEK_API_BASE",),
        keys=("DEEPSEEK_API_KEY",),
    ),
    "together_ai": Provider(
        way=Way.WIRE,
        base="https://api.together.ai/v1",
        bases=("TOGETHER_AI_API_BASE",),
        keys=("TOGETHER_API_KEY", "TOGETHER_AI_API_KEY", "TOGETHERAI_API_KEY"),
    ),
    "hosted_vllm": Provider(
        way=Way.WIRE, bases=("HOSTED_VLLM_API_BASE",), keys=("HOSTED_VLLM_API_KEY",), keyless=True
    ),
    "openai_like": Provider(
        way=Way.WIRE, bases=("OPENAI_LIKE_API_BASE",), keys=("OPENAI_LIKE_API_KEY",), keyless=True
    ),
    "lm_studio": Provider(
        way=Way.WIRE, bases=("LM_STUDIO_API_BASE",), keys=("LM_STUDIO_API_KEY",), keyless=True
    ),
    "anthropic": Provider(way=Way.CONFIG, keys=("ANTHROPIC_API_KEY",), batches="anthropic"),
    "gemini": Provider(way=Way.CONFIG, keys=("GEMINI_API_KEY", "GOOGLE_API_KEY")),
    "ollama": Provider(way=Way.CONFIG, keys=("OLLAMA_API_KEY",), keyless=True),
    "ollama_chat": Provider(way=Way.CONFIG, keys=("OLLAMA_API_KEY",), keyless=True),
    "xai": Provider(way=Way.CONFIG, keys=("XAI_API_KEY",)),
    "openrouter": Provider(way=Way.CONFIG, keys=("OPENROUTER_API_KEY",)),
    "cohere": Provider(keys=("COHERE_API_KEY",)),
    "bedrock": Provider(keyless=True),
    "sagemaker": Provider(keyless=True),
    "vertex_ai": Provider(keyless=True),
}
UNKNOWN = Provider()
