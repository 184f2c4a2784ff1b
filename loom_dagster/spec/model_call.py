"""The ``transform`` block: which model is asked, with which prompt, and how hard it may be used."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from loom_dagster.spec.blocks import Block, Count, Duration, Names, Positive, Text
from loom_dagster.spec.spellings import timeout_as_mapping

__all__ = ["Cache", "Limits", "PriceSpec", "TimeoutSpec", "Transform"]


class TimeoutSpec(Block):
    """Seconds."""

    connect: Positive = 10.0
    read: Positive = 120.0
    total: Positive = 300.0


class Limits(Block):
    """How hard a model may be used."""

    in_flight: Count = 64
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None


class Cache(Block):
    """Reuse of stored answers between runs. A resumed run always reuses its own."""

    enabled: bool = True
    ttl: Duration | None = None
    key_fields: Names = ()


class PriceSpec(Block):
    """USD per million tokens, for a model whose price is not known."""

    input: Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
    output: Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Transform(Block):
    """The model call. Without ``model`` the project's is taken. ``mode: batch`` asks through the provider's batch API:
    half the price, and up to a day to wait."""

    type: Literal["ai"] = "ai"
    prompt: str = Field(min_length=1)
    prompt_version: Text | None = None
    model: str | None = None
    model_version: Text | None = None
    mode: Literal["online", "batch"] = "online"
    temperature: Annotated[float, Field(ge=0.0, le=2.0, allow_inf_nan=False)] | None = 0.0
    max_tokens: Count | None = None
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    seed: int | None = None
    api_base: str | None = None
    api_key_env: str | None = None
    timeout: Annotated[
        TimeoutSpec,
        BeforeValidator(timeout_as_mapping, json_schema_input_type=TimeoutSpec | float),
    ] = TimeoutSpec()
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 5
    limits: Limits = Limits()
    fallbacks: Names = ()
    structured_output: bool | None = None
    price: PriceSpec | None = None
    context: Names = ()
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    cache: Cache = Cache()
    on_too_long: Literal["quarantine", "truncate"] = "quarantine"
