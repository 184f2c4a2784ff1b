"""Whether a run's questions go through a batch API, and what it needs for that."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from loom_dagster.errors import Problem
from loom_dagster.spec import is_stream

if TYPE_CHECKING:
    from loom_dagster.assembly.prepared import Prepared
    from loom_dagster.batches import Desk
    from loom_dagster.clock import Clock
    from loom_dagster.gateway import AnswerStore
    from loom_dagster.ledger import Batches
    from loom_dagster.settings import Settings

__all__ = ["asked_at_once", "asked_in_batches", "check_batches", "desk_of", "spool_folder"]


def spool_folder(settings: Settings) -> Path:
    """Where the questions of batches lie."""
    return settings.state_dir / "batches"


def check_batches(ready: Prepared, environ: Mapping[str, str]) -> list[Problem]:
    """What of ``mode: batch`` cannot be."""
    from loom_dagster.gateway.batching import HAVE_BATCHES, batch_provider

    model, where = ready.model, ready.file.where("transform", "mode")
    if ready.spec.transform.mode != "batch" or model is None:
        return []
    if is_stream(ready.spec.extract.source):
        return [
            Problem(
                what="a stream is consumed as it comes, and a batch takes up to a day",
                where=where,
                fix="remove `transform.mode: batch`",
            )
        ]
    if model.name.startswith("offline/"):
        return []
    if batch_provider(model, ready.prices, environ) is None:
        return [
            Problem(
                what=f"`{model.name}` has no batch API that is spoken here",
                where=where,
                fix=f"take `mode: online`, or a model of {HAVE_BATCHES}",
            )
        ]
    return []


def asked_in_batches(ready: Prepared) -> bool:
    """Whether the first questions of records are meant to be, and can be."""
    offline = ready.model is None or ready.model.name.startswith("offline/")
    return ready.spec.transform.mode == "batch" and not offline and not ready.options.trial


def asked_at_once(ready: Prepared, *, again: bool) -> Iterator[str]:
    """Why the questions of a pipeline with ``mode: batch`` do not go through batches, if they do not."""
    if ready.spec.transform.mode != "batch" or ready.model is None:
        return
    if ready.model.name.startswith("offline/"):
        yield f"{ready.model.name} answers at once: `transform.mode: batch` changes nothing here"
    elif ready.options.trial:
        yield "a trial does not wait: its questions are asked at once, at the full price, and not in a batch"
    elif again:
        yield "records of the quarantine are asked at once, at the full price, and not in a batch"


def desk_of(ready: Prepared, book: Batches, store: AnswerStore, clock: Clock) -> Desk | None:
    """None for a run whose questions are asked at once."""
    from loom_dagster.gateway.batching import batch_provider

    model, settings = ready.model, ready.settings
    if ready.spec.transform.mode != "batch" or ready.options.trial or model is None:
        return None
    provider = batch_provider(model, ready.prices, os.environ)
    if provider is None:
        return None
    from loom_dagster.batches import Clerk, Desk, Order
    from loom_dagster.gateway.batch_api import LIMITS
    from loom_dagster.ledger import Spool

    spool, most = Spool(spool_folder(settings)), LIMITS[provider]
    if settings.batch_requests is not None:
        most = replace(most, requests=min(most.requests, settings.batch_requests))
    order = Order(book, spool, provider=provider, most=most, budgets=ready.budgets, clock=clock)
    return Desk(
        order,
        lambda note: Clerk(
            book, spool, store, prices=ready.prices, clock=clock, environ=os.environ, note=note
        ),
        book,
    )
