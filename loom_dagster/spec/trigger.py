"""The ``trigger`` block: what makes a pipeline run by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, field_validator, model_validator

from loom_dagster.spec.blocks import Block, Count, Duration, Text
from loom_dagster.spec.cron import cron_problem
from loom_dagster.spec.findings import nearest
from loom_dagster.spec.spellings import one_or_many

__all__ = ["Trigger"]

On = Literal["new_data", "prompt"]
_SHORTEST = timedelta(seconds=5)  # Dagster's daemon looks no more often


class Trigger(Block):
    """``on``: new rows or files of the source (looked for ``every`` so often) or a new batch of the pipeline it
    reads; an edit of its prompt or contexts. Or ``cron``: at these times of ``timezone`` (default: UTC). Of a pipeline
    with partitions the newest ``lookback`` complete ones are looked at."""

    on: Annotated[
        tuple[On, ...], BeforeValidator(one_or_many, json_schema_input_type=On | tuple[On, ...])
    ] = ()
    every: Duration = timedelta(seconds=60)
    lookback: Count = 7
    cron: Text | None = None
    timezone: Text | None = None

    @field_validator("every")
    @classmethod
    def _not_too_often(cls, value: timedelta) -> timedelta:
        if value < _SHORTEST or value % timedelta(seconds=1):
            raise ValueError("write whole seconds, 5s at the least")
        return value

    @field_validator("cron")
    @classmethod
    def _a_schedule(cls, value: str | None) -> str | None:
        if value is not None and (problem := cron_problem(value)):
            raise ValueError(f"not a schedule: {problem}")
        return value

    @field_validator("timezone")
    @classmethod
    def _a_zone(cls, value: str | None) -> str | None:
        if value is not None and not is_zone(value):
            import zoneinfo

            near = nearest(value, zoneinfo.available_timezones(), others=False)
            advice = f" ({near})" if near else "; write it like Europe/Berlin"
            raise ValueError(f"there is no time zone `{value}`{advice}")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Trigger:
        if bool(self.on) == (self.cron is not None):
            raise ValueError("`trigger` needs one of `on` (new_data, prompt) and `cron`, not both")
        if self.timezone is not None and self.cron is None:
            raise ValueError("`timezone` belongs to `cron`, and there is none")
        if "every" in self.model_fields_set and not self.on:
            raise ValueError("`every` belongs to `on`; a `cron` says itself how often")
        return self


def is_zone(name: str) -> bool:
    """Whether this machine knows the time zone."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
