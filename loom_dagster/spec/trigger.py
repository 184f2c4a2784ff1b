"""The ``trigger`` block: what makes a pipeline run by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator

from loom_dagster.spec.blocks import Block, Duration, Text
from loom_dagster.spec.spellings import one_or_many

__all__ = ["Trigger"]

On = Literal["new_data", "prompt"]


class Trigger(Block):
    """``on``: new rows or files of the source (looked for ``every`` so often) or a new batch of the pipeline it
    reads; an edit of its prompt or contexts. ``cron``: at these times of ``timezone``."""

    on: Annotated[
        tuple[On, ...], BeforeValidator(one_or_many, json_schema_input_type=On | tuple[On, ...])
    ] = ()
    every: Duration = timedelta(seconds=60)
    cron: Text | None = None
    timezone: Text | None = None
