"""What models cost and can do, from the price file that litellm ships, without importing litellm (4 s)."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from loom_dagster.gateway.question import Model, Price
from loom_dagster.records import Usage

__all__ = ["PriceBook", "batch_price", "cost_of", "price_file"]

_FILE = "model_prices_and_context_window_backup.json"
_DATED = re.compile(r"(?:[-@](?:\d{4}-\d{2}-\d{2}|\d{8}))$")
_PRICED = ("input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost")
_ABOVE = re.compile(r"^(?:input|output)_cost_per_token_above_(\d+)(k?)_tokens$")
_OPENAI = re.compile(r"^(?:gpt-|chatgpt-|o[1-9](?:-|$)|ft:gpt-)")
# servers that enforce a schema for whatever model they serve; the price file has flags for models only
_ENFORCE = frozenset(["offline", "hosted_vllm", "lm_studio", "ollama", "ollama_chat"])
_BATCH = "_batches"
# providers whose batch API takes half the price of what the price file has no price of its own for
_HALF_IN_BATCHES = frozenset(
    ["anthropic", "azure", "bedrock", "gemini", "groq", "mistral", "openai", "vertex_ai"]
)
_MORE_PROVIDERS = frozenset(
    [
        "azure_text",
        "bedrock",
        "cohere_chat",
        "custom_openai",
        "datarobot",
        "docker_model_runner",
        "empower",
        "featherless_ai",
        "friendliai",
        "galadriel",
        "github",
        "hosted_vllm",
        "huggingface",
        "infinity",
        "litellm_proxy",
        "llamafile",
        "lm_studio",
        "maritalk",
        "nlp_cloud",
        "nvidia_nim",
        "oci",
        "ollama",
        "ollama_chat",
        "oobabooga",
        "openai_like",
        "openrouter",
        "petals",
        "predibase",
        "sagemaker",
        "sagemaker_chat",
        "sap",
        "text-completion-codestral",
        "codestral",
        "topaz",
        "triton",
        "vertex_ai",
        "vllm",
        "watsonx",
        "watsonx_text",
        "xinference",
    ]
)


class PriceBook:
    """Prices and limits by model name, with or without provider prefix, dated or not.

    ``models`` maps litellm's names to what its price file says of them; read on first use by ``load()``.
    """

    def __init__(self, models: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._given = models

    @classmethod
    def load(cls) -> PriceBook:
        """The book of the installed litellm; the file is read when first needed, once a process."""
        return cls()

    @property
    def _models(self) -> Mapping[str, Mapping[str, Any]]:
        return price_file() if self._given is None else self._given

    def price(self, name: str) -> Price | None:
        """USD per token; None when unknown."""
        if self.provider(name) == "offline":
            return Price(input=0.0, output=0.0)
        return _price(self._entry(name))

    def in_batches(self, name: str) -> Price | None:
        """USD per token through the provider's batch API; None when that is not known."""
        return _price(self._entry(name), _BATCH)

    def cost(self, model: Model, usage: Usage) -> float | None:
        """USD for ``usage``, by ``model.price`` if it has one; None when unknown."""
        return cost_of(model.price or self.price(model.name), usage)

    def takes_schema(self, name: str) -> bool:
        """Whether the provider enforces a JSON schema for this model."""
        return self.provider(name) in _ENFORCE or bool(self._entry(name).get("supports_response_schema"))

    def context_window(self, name: str) -> int | None:
        """The most tokens a prompt may have; None when unknown."""
        return self._count(name, "max_input_tokens")

    def max_output(self, name: str) -> int | None:
        """The most tokens an answer may have; None when unknown."""
        return self._count(name, "max_output_tokens")

    def reasons(self, name: str) -> bool:
        """Whether the model thinks before it answers (and so takes other parameters)."""
        return bool(self._entry(name).get("supports_reasoning"))

    def says(self, name: str, what: str) -> Any:
        """What the price file has under ``what``; None when it has nothing."""
        return self._entry(name).get(what)

    def mode(self, name: str) -> str | None:
        """``chat``, ``responses``, ``embedding``, ...; None when unknown."""
        mode = self._entry(name).get("mode")
        return None if mode is None else str(mode)

    def provider(self, name: str) -> str | None:
        """The word litellm has for who serves ``name``; None when nobody known does."""
        prefix, slash, _ = name.partition("/")
        if slash and (prefix == "offline" or prefix in self._providers):
            return prefix
        entry = self._entry(name)
        if entry:
            return str(entry.get("litellm_provider"))
        return "openai" if _OPENAI.match(name) else None

    @functools.cached_property
    def _providers(self) -> frozenset[str]:
        return _MORE_PROVIDERS | {str(m.get("litellm_provider")) for m in self._models.values()}

    def _count(self, name: str, what: str) -> int | None:
        count = self._entry(name).get(what)
        return int(count) if isinstance(count, int | float) else None

    def _entry(self, name: str) -> Mapping[str, Any]:
        models = self._models
        for candidate in (name, _DATED.sub("", name), ":".join(name.split(":")[:2])):
            if candidate in models:
                return models[candidate]
        prefix, slash, rest = name.partition("/")
        for candidate in (rest, _DATED.sub("", rest)) if slash else ():
            entry = models.get(candidate)
            # `hosted_vllm/gpt-4o-mini` is not OpenAI's: the bare name counts for its own provider only
            if entry is not None and str(entry.get("litellm_provider")).split("-")[0] == prefix:
                return entry
        return {}


def batch_price(model: Model, prices: PriceBook) -> Price | None:
    """USD per token of ``model`` through its provider's batch API: as the price file says, else half of its price where
    the provider has such an API. None when there is none, or when the price is not known."""
    known = None if model.price else prices.in_batches(model.name)
    price = model.price or prices.price(model.name)
    if known is not None or price is None or prices.provider(model.name) not in _HALF_IN_BATCHES:
        return known
    return _halved(price)


def _halved(price: Price) -> Price:
    cached = None if price.cached is None else price.cached / 2
    tiers = tuple((above, _halved(dearer)) for above, dearer in price.tiers)
    return Price(input=price.input / 2, output=price.output / 2, cached=cached, tiers=tiers)


def cost_of(price: Price | None, usage: Usage) -> float | None:
    """USD for ``usage`` at ``price``; cached input tokens at their own price if they have one."""
    if price is None:
        return None
    price = price.at(usage.input_tokens)
    cached = price.input if price.cached is None else price.cached
    fresh = max(0, usage.input_tokens - usage.cached_tokens)
    return fresh * price.input + usage.cached_tokens * cached + usage.output_tokens * price.output


def _price(entry: Mapping[str, Any], of: str = "") -> Price | None:
    """An entry has plain prices, and further ones for prompts above a size, in one of two notations:
    ``input_cost_per_token_above_200k_tokens``, or a list of ``tiered_pricing`` with ranges. ``of``: the ending of
    the names of another kind of prices."""
    ranges = [
        tier
        for tier in entry.get("tiered_pricing") or ()
        if "input_cost_per_token" in tier and tier.get("range")
    ]
    steps = ({} if of else {int(tier["range"][0]): tier for tier in ranges}) or _above(entry, of)
    known: dict[str, Any] = {plain: entry.get(f"{plain}{of}") for plain in _PRICED}
    prices: list[tuple[int, Price]] = []
    for above, step in sorted(steps.items()):
        known |= {plain: step[plain] for plain in _PRICED if step.get(plain) is not None}
        into, out, cached = (known[plain] for plain in _PRICED)
        if into is None or out is None:
            return None
        prices.append((above, Price(input=into, output=out, cached=cached)))
    return dataclasses.replace(prices[0][1], tiers=tuple(prices[1:]))


def _above(entry: Mapping[str, Any], of: str) -> dict[int, Mapping[str, Any]]:
    steps: dict[int, Mapping[str, Any]] = {0: {plain: entry.get(f"{plain}{of}") for plain in _PRICED}}
    for key in entry:
        if size := _ABOVE.match(key):
            above = int(size[1]) * (1000 if size[2] else 1)
            if entry.get("litellm_provider") == "xai":  # there the higher price begins at the size
                above -= 1
            steps[above] = {
                plain: entry.get(f"{plain}_above_{size[1]}{size[2]}_tokens{of}") for plain in _PRICED
            }
    return steps


@functools.cache
def price_file() -> Mapping[str, Mapping[str, Any]]:
    spec = importlib.util.find_spec("litellm")
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or ():
        path = Path(folder) / _FILE
        if path.is_file():
            models: dict[str, dict[str, Any]] = orjson.loads(path.read_bytes())
            models.pop("sample_spec", None)
            return models
    return {}
