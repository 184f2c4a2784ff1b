"""What OpenAI's own models take, by their names, as litellm knows it; the same for what Azure serves.

Models that think refuse ``max_tokens``, and sampling parameters unless they think only when asked to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from loom_dagster.gateway.prices import PriceBook

__all__ = ["Takes", "served_elsewhere", "takes"]

_O_SERIES = re.compile(r"o\d")
_O_SERIES_DEPLOYED = re.compile(r"o[134]")  # a deployment may be called anything
_GPT_SERIES = re.compile(r"gpt-[56]")
_AZURE_SCHEMAS_SINCE = "2024-08"
_DATED = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Takes:
    """``limit``: its word for the token limit; ``sampling``: temperature and top_p; ``system``: messages of
    that role."""

    limit: str = "max_tokens"
    sampling: bool = True
    system: bool = True


def takes(provider: str, name: str, prices: PriceBook) -> Takes:
    """What ``name``, of OpenAI or deployed at Azure, takes; anybody else's model takes all."""
    if provider not in {"openai", "azure"}:
        return Takes()
    full = f"azure/{name}" if provider == "azure" else name
    last = name.rpartition("/")[2]

    def says(what: str) -> Any:
        said = prices.says(full, what)
        return prices.says(name, what) if said is None else said

    deployed = provider == "azure" and _O_SERIES_DEPLOYED.search(name)
    if deployed or (_O_SERIES.match(last) and prices.mode(full)):
        return Takes("max_completion_tokens", sampling=False, system=bool(says("supports_system_messages")))
    if not _GPT_SERIES.search(name):
        return Takes()
    if "gpt-5-chat" in last:
        return Takes("max_completion_tokens" if provider == "azure" else "max_tokens")
    idle = bool(says("supports_none_reasoning_effort")) and says("default_reasoning_effort") == "none"
    return Takes("max_completion_tokens", sampling=idle)


def served_elsewhere(provider: str, name: str, prices: PriceBook, *, structured: bool, version: str) -> bool:
    """Whether litellm does something of its own for this model, which is not OpenAI's wire alone.

    ``structured``: a schema is asked for by hand; ``version``: of Azure's interface.
    """
    if prices.mode(name) not in (None, "chat"):  # /responses
        return True
    if provider == "openai":
        return "gpt-5" in name and "search" in name
    if provider == "azure":
        old = _DATED.match(version) is None or version < _AZURE_SCHEMAS_SINCE
        tool = structured and re.search(r"gpt-3[.-]?5", name) is not None
        mistral = (
            prices.mode(name.replace("azure/", "mistral/", 1)) is not None
        )  # not a deployment of OpenAI's
        return old or tool or mistral or "_series/" in name
    # a schema that the model does not know becomes a tool that it has to call
    return provider == "groq" and structured and not prices.takes_schema(name)
