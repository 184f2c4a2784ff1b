"""Which way a model is asked: by its name, its ``api_base`` and the environment.

Our own OpenAI wire serves OpenAI, vLLM and every model with an ``api_base`` that no other provider
claims. ``offline/...`` is answered in this process. Everything else goes through litellm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from loom_dagster.errors import Misconfigured, Problem
from loom_dagster.gateway.failures import Place
from loom_dagster.gateway.prices import PriceBook
from loom_dagster.gateway.question import Model

__all__ = ["Route", "check_model", "find_route", "takes_schema"]

_OPENAI_URL = "https://api.openai.com/v1"
_KEYS: Mapping[str, tuple[str, ...]] = {  # any one of them will do
    "anthropic": ("ANTHROPIC_API_KEY",),
    "azure": ("AZURE_API_KEY", "AZURE_AD_TOKEN", "AZURE_CLIENT_ID"),
    "cerebras": ("CEREBRAS_API_KEY",),
    "cohere": ("COHERE_API_KEY", "CO_API_KEY"),
    "cohere_chat": ("COHERE_API_KEY", "CO_API_KEY"),
    "deepinfra": ("DEEPINFRA_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "fireworks_ai": ("FIREWORKS_AI_API_KEY", "FIREWORKS_API_KEY", "FIREWORKSAI_API_KEY"),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "groq": ("GROQ_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "openai": ("OPENAI_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY", "OR_API_KEY"),
    "perplexity": ("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
    "together_ai": ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY", "TOGETHER_AI_API_KEY"),
    "xai": ("XAI_API_KEY",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a model is asked. ``model`` is the name as the provider knows it; ``url`` without a
    trailing slash, None where the provider's own is meant."""

    lane: Literal["openai", "litellm", "offline"]
    model: str
    provider: str
    url: str | None = None
    key_env: str | None = None
    key: str | None = field(default=None, repr=False)

    @property
    def place(self) -> Place:
        host = urlsplit(self.url).netloc.rpartition("@")[2] if self.url else self.provider
        return Place(model=self.model, host=host, key_env=self.key_env, key=self.key)


def find_route(model: Model, prices: PriceBook, environ: Mapping[str, str]) -> Route:
    """The way to ``model``. Raises Misconfigured when there is none or its key is missing."""
    prefix, slash, rest = model.name.partition("/")
    provider = prices.provider(model.name)
    if provider == "offline":
        return Route(lane="offline", model=model.name, provider="offline")
    if slash and prefix == "hosted_vllm":
        base = model.api_base or environ.get("HOSTED_VLLM_API_BASE")
        if base is None:
            raise Misconfigured(
                f"nobody knows where `{model.name}` is served",
                fix="set `api_base`, or HOSTED_VLLM_API_BASE in the environment",
            )
        return _openai(model, rest, base, "HOSTED_VLLM_API_KEY", environ)
    base = model.api_base or environ.get("OPENAI_BASE_URL") or environ.get("OPENAI_API_BASE")
    if provider == "openai" and prices.mode(model.name) in {None, "chat"}:
        name = rest if slash and prefix == "openai" else model.name
        return _openai(model, name, base or _OPENAI_URL, "OPENAI_API_KEY", environ)
    if provider is None and base is not None:
        return _openai(model, model.name, base, "OPENAI_API_KEY", environ)
    if provider is None:
        raise Misconfigured(
            f"no provider known for the model `{model.name}`",
            fix="write litellm's name (provider/model), or set `api_base` for an OpenAI-compatible server",
        )
    return _litellm(model, provider, environ)


def check_model(
    model: Model, environ: Mapping[str, str], prices: PriceBook | None = None
) -> tuple[Problem, ...]:
    """What can be known to be wrong with ``model`` and its fallbacks before the first call."""
    book = prices or PriceBook.load()
    problems = []
    for one in (model, *model.fallbacks):
        try:
            find_route(one, book, environ)
        except Misconfigured as error:
            what = f"{error.what}: {error.why}" if error.why else error.what
            problems.append(Problem(what=what, where=error.where, fix=error.fix))
    return tuple(problems)


def takes_schema(model: Model, prices: PriceBook) -> bool:
    """Whether the provider is asked to enforce the JSON schema: as configured, else by the price file."""
    return prices.takes_schema(model.name) if model.structured is None else model.structured


def _openai(model: Model, name: str, base: str, usual: str, environ: Mapping[str, str]) -> Route:
    url = base.rstrip("/").removesuffix("/chat/completions")
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).netloc:
        raise Misconfigured(f"`{base}` is no URL", fix="write `api_base` like http://localhost:8000/v1")
    key_env = model.api_key_env or usual
    key = environ.get(key_env) or None
    if key is None and (model.api_key_env or url == _OPENAI_URL):
        raise _missing(model, (key_env,))
    return Route(lane="openai", model=name, provider="openai", url=url, key_env=key_env, key=key)


def _litellm(model: Model, provider: str, environ: Mapping[str, str]) -> Route:
    names = (model.api_key_env,) if model.api_key_env else _KEYS.get(provider, ())
    found = next((name for name in names if environ.get(name)), None)
    if names and found is None and (model.api_key_env or model.api_base is None):
        raise _missing(model, names)
    key = environ[found] if found else None
    return Route(
        lane="litellm",
        model=model.name,
        provider=provider,
        url=model.api_base,
        key_env=found or (names or (None,))[0],
        key=key,
    )


def _missing(model: Model, names: tuple[str, ...]) -> Misconfigured:
    return Misconfigured(
        f"`{model.name}` needs a key",
        why=f"{' or '.join(names)} is not set",
        fix=f"export {names[0]}=..., or try it without a key: --offline",
    )
