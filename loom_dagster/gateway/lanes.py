"""Which way to a provider a model takes, and what has to be there for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loom_dagster.errors import Problem
from loom_dagster.gateway.lane import Lane
from loom_dagster.gateway.offline import Offline
from loom_dagster.gateway.prices import PriceBook
from loom_dagster.gateway.question import Model

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Address", "check_model", "lane_for"]

# name of the provider: default address, variables of the address, variables of the key
_WIRE: Mapping[str, tuple[str | None, tuple[str, ...], tuple[str, ...]]] = {
    "openai": ("https://api.openai.com/v1", ("OPENAI_BASE_URL", "OPENAI_API_BASE"), ("OPENAI_API_KEY",)),
    "hosted_vllm": (None, ("HOSTED_VLLM_API_BASE",), ("HOSTED_VLLM_API_KEY",)),
    "openai_like": (None, ("OPENAI_LIKE_API_BASE",), ("OPENAI_LIKE_API_KEY",)),
    "lm_studio": (None, ("LM_STUDIO_API_BASE",), ("LM_STUDIO_API_KEY",)),
}
_KEYLESS = frozenset(
    {"hosted_vllm", "openai_like", "lm_studio", "ollama", "ollama_chat", "bedrock", "vertex_ai", "sagemaker"}
)
_KEYS: Mapping[str, tuple[str, ...]] = {
    "anthropic": ("ANTHROPIC_API_KEY",),
    "azure": ("AZURE_API_KEY",),
    "cohere": ("COHERE_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "groq": ("GROQ_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "together_ai": ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY"),
    "xai": ("XAI_API_KEY",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a model is asked. ``wire``: in OpenAI's format, by ourselves. ``key_env`` names the variable
    that holds (or should hold) the key."""

    provider: str
    wire: bool
    name: str
    base: str | None
    key_env: str | None

    @classmethod
    def of(cls, model: Model, prices: PriceBook, environ: Mapping[str, str]) -> Address | None:
        """None when nobody is known who serves the model."""
        provider = prices.provider(model.name)
        prefix, slash, rest = model.name.partition("/")
        if provider is None:  # an OpenAI-compatible server may serve anything
            if model.api_base is None and not any(environ.get(name) for name in _WIRE["openai"][1]):
                return None
            provider, prefix, rest = "openai", "", model.name
        # what OpenAI serves on /responses only is a matter for litellm
        wire = provider in _WIRE and prices.mode(model.name) in (None, "chat")
        base, bases, keys = _WIRE.get(provider, (None, (), _KEYS.get(provider, ())))
        from_environ = next((environ[name] for name in bases if environ.get(name)), None)
        return cls(
            provider=provider,
            wire=wire,
            name=rest if slash and prefix == provider else model.name,
            base=model.api_base or from_environ or base,
            key_env=model.api_key_env or next((k for k in keys if environ.get(k)), keys[0] if keys else None),
        )


def check_model(
    model: Model, environ: Mapping[str, str], prices: PriceBook | None = None
) -> tuple[Problem, ...]:
    """What is missing before ``model`` can be asked: provider, address, key. Nothing is sent."""
    if model.name.startswith("offline/"):
        return ()
    address = Address.of(model, prices or PriceBook.load(), environ)
    if address is None:
        return (
            Problem(
                what=f"nobody is known who serves the model `{model.name}`",
                fix="write it as litellm does (provider/model), or set `api_base` for an OpenAI-compatible server",
            ),
        )
    if address.wire and address.base is None:
        return (Problem(what=f"`{model.name}` needs an address", fix="set `api_base`"),)
    key_env = address.key_env
    if key_env is None or environ.get(key_env):
        return ()
    if model.api_key_env is None and (address.provider in _KEYLESS or model.api_base is not None):
        return ()
    return (
        Problem(
            what=f"`{model.name}` needs a key, and {key_env} is not set",
            fix=f"set {key_env}, or name another variable in `api_key_env`, or run with --offline",
        ),
    )


def lane_for(
    model: Model, prices: PriceBook, environ: Mapping[str, str], session: Callable[[], aiohttp.ClientSession]
) -> Lane:
    """The lane of ``model``; ``session`` is made when the first lane needs one."""
    if model.name.startswith("offline/"):
        return Offline()
    address = Address.of(model, prices, environ)
    structured = prices.takes_schema(model.name) if model.structured is None else model.structured
    key_env = None if address is None else address.key_env
    key = environ.get(key_env) if key_env else None
    if address is not None and address.wire and address.base is not None:
        from loom_dagster.gateway.openai_wire import OpenAIWire  # aiohttp: not for offline models

        return OpenAIWire(
            model,
            session(),
            name=address.name,
            base=address.base,
            key=key,
            key_env=key_env,
            structured=structured,
            reasons=address.provider == "openai" and prices.reasons(model.name),
        )
    from loom_dagster.gateway.litellm_lane import LiteLLM

    return LiteLLM(model, key=key, key_env=key_env, structured=structured)
