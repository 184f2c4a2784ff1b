"""Every model call: store, limits, breaker, retries, provider."""

from loom_dagster.gateway.charge import Spend
from loom_dagster.gateway.gateway import Gateway
from loom_dagster.gateway.keys import question_key
from loom_dagster.gateway.lanes import check_model, way_of
from loom_dagster.gateway.prices import PriceBook, batch_price
from loom_dagster.gateway.question import (
    AnswerSchema,
    AnswerStore,
    Asks,
    Message,
    Model,
    Origin,
    Price,
    ProviderLimits,
    Question,
    Timeouts,
)
from loom_dagster.gateway.sharing import Shares

__all__ = [
    "AnswerSchema",
    "AnswerStore",
    "Asks",
    "Gateway",
    "Message",
    "Model",
    "Origin",
    "Price",
    "PriceBook",
    "ProviderLimits",
    "Question",
    "Shares",
    "Spend",
    "Timeouts",
    "batch_price",
    "check_model",
    "question_key",
    "way_of",
]
