"""Which way to a provider a model takes, and what has to be there for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from loom_dagster.errors import Problem
from loom_dagster.gateway.lane import Lane
from loom_dagster.gateway.offline import Offline
from loom_dagster.gateway.openai_models import served_elsewhere, takes
from loom_dagster.gateway.prices import PriceBook
from loom_dagster.gateway.providers import PROVIDERS, UNKNOWN, Way
from loom_dagster.gateway.question import Model

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Address", "check_model", "lane_for", "way_of"]

_AZURE_VERSION = "2025-02-01-preview"  # the one that litellm takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a model is asked and how. ``name`` is what the provider calls it, ``key_env`` the variable that
    holds (or should hold) the key, ``version`` that of Azure's interface."""

    provider: str
    way: Way
    name: str
    base: str | None
    key_env: str | None
    version: str = _AZURE_VERSION

    @classmethod
    def of(cls, model: Model, prices: PriceBook, environ: Mapping[str, str]) -> Address | None:
        """None when nobody is known who serves the model."""
        provider = prices.provider(model.name)
        prefix, slash, rest = model.name.partition("/")
        if provider is None:  # an OpenAI-compatible server may serve anything
            if model.api_base is None and not any(environ.get(name) for name in PROVIDERS["openai"].bases):
                return None
            provider, prefix, rest = "openai", "", model.name
        known = PROVIDERS.get(provider, UNKNOWN)
        version = environ.get("AZURE_API_VERSION") or _AZURE_VERSION
        from_environ = next((environ[name] for name in known.bases if environ.get(name)), None)
        elsewhere = known.way is Way.WIRE and served_elsewhere(
            provider, model.name, prices, structured=model.structured is True, version=version
        )
        return cls(
            provider=provider,
            way=Way.LITELLM if elsewhere else known.way,
            name=rest if slash and prefix == provider else model.name,
            base=model.api_base or from_environ or known.base,
            key_env=model.api_key_env
            or next((k for k in known.keys if environ.get(k)), known.keys[0] if known.keys else None),
            version=version,
        )

    @property
    def url(self) -> str:
        """Of the OpenAI wire's requests."""
        base = (self.base or "").rstrip("/").removesuffix("/chat/completions")
        if self.provider == "azure":
            return f"{base}/openai/deployments/{quote(self.name)}/chat/completions?api-version={self.version}"
        return f"{base}/chat/completions"

    def headers(self, key: str | None) -> Mapping[str, str]:
        """That carry ``key`` on the OpenAI wire."""
        if not key:
            return {}
        return {"api-key": key} if self.provider == "azure" else {"Authorization": f"Bearer {key}"}


def way_of(model: Model, environ: Mapping[str, str], prices: PriceBook | None = None) -> Way | None:
    """How ``model`` is asked; None when nobody is known who serves it."""
    if model.name.startswith("offline/"):
        return Way.OFFLINE
    address = Address.of(model, prices or PriceBook.load(), environ)
    return None if address is None else address.way


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
    known = PROVIDERS.get(address.provider, UNKNOWN)
    if address.way is Way.WIRE and address.base is None:
        return (Problem(what=f"`{model.name}` needs an address", fix=f"set `api_base` or {known.bases[0]}"),)
    key_env = address.key_env
    if key_env is None or environ.get(key_env):
        return ()
    if model.api_key_env is None and (known.keyless or model.api_base is not None):
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
    """The lane of ``model``; ``session`` is made when the first lane needs one. Raises Misconfigured."""
    if model.name.startswith("offline/"):
        return Offline()
    address = Address.of(model, prices, environ)
    structured = prices.takes_schema(model.name) if model.structured is None else model.structured
    key_env = None if address is None else address.key_env
    key = environ.get(key_env) if key_env else None
    if address is not None and address.way is Way.WIRE and address.base is not None:
        from loom_dagster.gateway.connection import Connection  # aiohttp: not for offline models
        from loom_dagster.gateway.openai_wire import OpenAIWire

        connection = Connection(
            model, session(), url=address.url, headers=address.headers(key), key=key, key_env=key_env
        )
        return OpenAIWire(
            model,
            connection,
            name=address.name,
            structured=structured,
            takes=takes(address.provider, address.name, prices),
            renamed=PROVIDERS[address.provider].renamed,
        )
    from loom_dagster.gateway.litellm_lane import LiteLLM

    whole = LiteLLM(model, key=key, key_env=key_env, structured=structured)
    if address is None or address.way is not Way.CONFIG:
        return whole
    from loom_dagster.gateway.config_lane import ConfigLane

    return ConfigLane(model, session(), whole, key=key, key_env=key_env)
