"""Whose batch API a model's questions go through, and how it is opened again by what was written down of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from loom_dagster.errors import Misconfigured
from loom_dagster.gateway.failures import Place
from loom_dagster.gateway.lane import Batchable, BatchRequest, Lane
from loom_dagster.gateway.lanes import Address, lane_for
from loom_dagster.gateway.prices import PriceBook, batch_price
from loom_dagster.gateway.providers import PROVIDERS, UNKNOWN, Way
from loom_dagster.gateway.question import AnswerSchema, Model, Origin, Price, Question, Timeouts

if TYPE_CHECKING:
    import aiohttp

    from loom_dagster.gateway.batch_api import BatchApi

__all__ = ["HAVE_BATCHES", "asked_of", "batch_model", "batch_provider", "open_batch_api", "price_in_batches"]

HAVE_BATCHES = "OpenAI, Anthropic, and OpenAI-compatible servers at `api_base` that have batches"


def batch_provider(model: Model, prices: PriceBook, environ: Mapping[str, str]) -> str | None:
    """``openai`` or ``anthropic``; None for a model that is asked at once only."""
    if model.name.startswith("offline/"):
        return None
    address = Address.of(model, prices, environ)
    if address is None or address.way is Way.LITELLM:
        return None
    return PROVIDERS.get(address.provider, UNKNOWN).batches


def price_in_batches(model: Model, prices: PriceBook) -> Price | None:
    """Through the batch API; where that is not known, the usual one."""
    return batch_price(model, prices) or model.price or prices.price(model.name)


def asked_of(provider: str, question: Question, request: BatchRequest) -> dict[str, Any]:
    """What has to be known to read a batch's answers, as JSON: whoever does may find another YAML by then. No key
    is in it."""
    model, schema = question.model, question.schema
    kept = asdict(model) | {"fallbacks": (), "extra": dict(model.extra), "provider": None}
    return {
        "provider": provider,
        "url": request.url,
        "headers": dict(request.headers),
        "model": kept,
        "schema": None
        if schema is None
        else {"name": schema.name, "body": dict(schema.body), "strict": schema.strict},
    }


def batch_model(asked: Mapping[str, Any]) -> Model:
    """The model as it was."""
    said = dict(asked["model"])
    price = said.pop("price")
    return Model(
        **{
            **said,
            "timeouts": Timeouts(**said["timeouts"]),
            "fallbacks": (),
            "price": None if price is None else _price(price),
        }
    )


def _price(said: Mapping[str, Any]) -> Price:
    tiers = tuple((int(above), _price(dearer)) for above, dearer in said["tiers"])
    return Price(input=said["input"], output=said["output"], cached=said["cached"], tiers=tiers)


def open_batch_api(
    asked: Mapping[str, Any],
    prices: PriceBook,
    environ: Mapping[str, str],
    session: Callable[[], aiohttp.ClientSession],
) -> tuple[BatchApi, Lane]:
    """The API, and the lane that reads its answers; whoever opens it closes that. Raises Misconfigured."""
    from loom_dagster.gateway.anthropic_batches import AnthropicBatches
    from loom_dagster.gateway.batch_http import BatchHttp
    from loom_dagster.gateway.openai_batches import OpenAIBatches

    model = batch_model(asked)
    address = Address.of(model, prices, environ)
    lane = lane_for(model, prices, environ, session)
    if address is None or not isinstance(lane, Batchable):
        raise Misconfigured(
            f"questions to {model.name} cannot go in batches", fix=f"those of {HAVE_BATCHES} can"
        )
    key = environ.get(address.key_env) if address.key_env else None
    url = str(asked["url"])
    place = Place(model=model.name, host=url.split("/")[2], key_env=address.key_env, key=key)
    anthropic = asked["provider"] == "anthropic"
    with_key = {"x-api-key": key} if anthropic and key else {} if anthropic else address.headers(key)
    own = {"anthropic-version": "2023-06-01"} if anthropic else {}
    http = BatchHttp(
        session(), place=place, headers={**own, **asked["headers"], **with_key}, timeouts=model.timeouts
    )
    api = AnthropicBatches if anthropic else OpenAIBatches
    return api(http, url, lane, _like_them(model, asked["schema"])), lane


def _like_them(model: Model, schema: Mapping[str, Any] | None) -> Question:
    return Question(
        model=model,
        messages=({"role": "user", "content": "?"},),
        origin=Origin(pipeline="", record_id="", purpose="transform"),
        schema=None if schema is None else AnswerSchema(**schema),
    )
