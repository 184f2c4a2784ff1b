"""The variables of the environment that a model is asked with: for a process that may lack them."""

from __future__ import annotations

from collections.abc import Mapping

from loom_dagster.gateway.prices import PriceBook
from loom_dagster.gateway.providers import PROVIDERS, UNKNOWN
from loom_dagster.gateway.question import Model

__all__ = ["variables_of"]


def variables_of(model: Model, prices: PriceBook, environ: Mapping[str, str]) -> dict[str, str]:
    """Key, address and version of ``model`` and its fallbacks, as far as they are set. They hold secrets."""
    found: dict[str, str] = {}
    for each in (model, *model.fallbacks):
        if each.name.startswith("offline/"):
            continue
        provider = prices.provider(each.name) or "openai"
        known = PROVIDERS.get(provider, UNKNOWN)
        names = [each.api_key_env or "", *known.keys, *known.bases]
        begins = (f"{provider.upper()}_",) if known.way is UNKNOWN.way or provider == "azure" else ()
        found |= {
            name: value
            for name, value in environ.items()
            if name in names or (begins and name.startswith(begins))
        }
    return found
