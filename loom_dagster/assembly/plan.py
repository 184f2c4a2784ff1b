"""A prepared pipeline as a Plan: objects with everything they need, ready to run."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from loom_dagster.alerts import channels_for
from loom_dagster.assembly.desk import asked_at_once, desk_of
from loom_dagster.assembly.fallbacks import chosen_fallback, fallback_values
from loom_dagster.assembly.models import Models
from loom_dagster.assembly.prepared import Prepared
from loom_dagster.assembly.recipe import recipe_of, version_rows
from loom_dagster.batches import Desk
from loom_dagster.clock import Clock
from loom_dagster.errors import Misconfigured
from loom_dagster.evaluate import build_panel
from loom_dagster.extract import Source
from loom_dagster.gateway import AnswerStore, Asks, Gateway, Model, Shares
from loom_dagster.ledger import Batches, RunHandle
from loom_dagster.pipeline import OnFailure, Pace, Plan, Room, Route
from loom_dagster.prompts import Prompt, content_digest
from loom_dagster.records import Batch, to_json
from loom_dagster.release import Releases, Stamp, Written, gone
from loom_dagster.settings import Settings
from loom_dagster.spec import is_stream
from loom_dagster.spec.models import FieldSpec, Pipeline
from loom_dagster.transform import OutputSchema, Transformer
from loom_dagster.watermark import Watermark

__all__ = ["TRIAL", "Materials", "make_plan", "paid_for"]

TRIAL = "~trial"  # where trial runs keep their own runs and snapshots, beside every partition


@dataclass(frozen=True, kw_only=True)
class Materials:
    """What a plan is made with, beside the prepared pipeline. ``shares`` makes a member of those who
    share the project's limits. ``batches``, ``samples``
    and ``source_schema`` replace the source when records of the quarantine are tried again, as an
    ``increment`` where the pipeline has increments. ``book``: the ledger's of batches; without it none are made."""

    settings: Settings
    store: AnswerStore
    releases: Releases
    clock: Clock
    shares: Callable[[], Shares]
    batches: Callable[[], Iterator[Batch]] | None = None
    samples: Mapping[str, int] | None = None
    source_schema: pa.Schema | None = None
    increment: bool = False
    book: Batches | None = None


def make_plan(ready: Prepared, materials: Materials) -> Plan:
    """The plan of ``ready``. Raises Misconfigured when the pipeline has problems."""
    parts = _parts(ready)
    if materials.batches is None and is_stream(parts.spec.extract.source):
        raise Misconfigured(
            f"`{parts.spec.name}` reads a stream, which does not end", fix=f"loom stream {parts.spec.name}"
        )
    spec, prompt, model, limit = ready.spec, parts.prompt, parts.model, ready.options.limit
    partition = TRIAL if ready.options.trial else ready.partition
    again = materials.batches is not None
    desk = _desk(ready, materials)
    recipe = recipe_of(ready)
    return Plan(
        pipeline=spec.name,
        partition=partition,
        shown_partition=ready.partition,
        fingerprint=ready.fingerprint(),
        version=spec.version,
        model=model.name,
        simulated=model.name.startswith("offline/"),
        trial=ready.options.trial,
        allow_empty=spec.extract.allow_empty,
        evaluate=spec.evaluate,
        source_schema=parts.source.schema if materials.source_schema is None else materials.source_schema,
        output_schema=parts.schema.arrow,
        stamp=functools.partial(_stamp, prompt, spec.version),
        folder=lambda run_id: materials.releases.folder(spec.name, partition, run_id),
        batches=materials.batches or (lambda: parts.source.batches(limit)),
        gateway=lambda listen, note, spend: Gateway(
            materials.store,
            spend=spend,
            clock=materials.clock,
            prices=ready.prices,
            patience=materials.settings.outage_patience,
            shares=materials.shares(),
            orders=None if desk is None else desk.order,
            listen=listen,
            note=note,
        ),
        route=lambda asks, handle: _route(parts, asks, handle, materials),
        budgets=ready.budgets,
        warn_above=ready.warn_above,
        paid=functools.partial(paid_for, materials.store),
        pace=_pace(model, parts.models.judge(None)),
        versions=versions(ready, recipe),
        version_rows=version_rows(prompt, model, recipe),
        notes=(*(str(p) for p in ready.warnings), *asked_at_once(ready, again=again)),
        desk=desk,
        increment=ready.start.increment or materials.increment,
        monitoring=spec.monitoring,
        again=materials.samples is not None,
        series=bool(spec.extract.partitions and spec.extract.partitions.every),
        reached=lambda: _reached(ready, parts.source, materials),
        gone=functools.partial(_gone, ready, materials),
        tells=functools.partial(channels_for, ready.settings, spec),
        skips=spec.load.on_failure == "skip",
    )


def _desk(ready: Prepared, materials: Materials) -> Desk | None:
    """Where questions wait for a batch; records of the quarantine that are tried again are asked at once."""
    if materials.book is None or materials.batches is not None:
        return None
    return desk_of(ready, materials.book, materials.store, materials.clock)


def _stamp(prompt: Prompt, version: str | None, run_id: str) -> Stamp:
    return Stamp(
        run_id=run_id,
        prompt_name=prompt.name,
        prompt_version=prompt.version,
        context_versions=dict(prompt.contexts),
        pipeline_version=version,
    )


def _reached(ready: Prepared, source: Source, materials: Materials) -> Watermark | None:
    """Records of the quarantine that are tried again bring a pipeline no further."""
    return source.reached if ready.spec.extract.incremental and materials.batches is None else None


def _gone(ready: Prepared, materials: Materials, written: Written) -> tuple[int, Sequence[str]]:
    """Known only when everything was read again."""
    name, partition = ready.spec.name, ready.partition
    if (
        not ready.options.full_refresh
        or written.deferred
        or materials.releases.released(name, partition) is None
    ):
        return 0, ()
    before = materials.releases.read_transformed(name, partition)
    return gone(before, [written.transformed, written.quarantine])


def paid_for(store: AnswerStore, key: bytes, since: float) -> float | None:
    """What was paid for the answer with this key, if it was stored since."""
    answer = store.get(key, not_before=since)
    return None if answer is None else answer.cost


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """A prepared pipeline without problems: nothing is missing."""

    spec: Pipeline
    fields: Mapping[str, FieldSpec] | None
    prompt: Prompt
    schema: OutputSchema
    source: Source
    models: Models
    model: Model


def _parts(ready: Prepared) -> _Parts:
    ready.require()
    prompt, schema, source, models, model = (
        ready.prompt,
        ready.schema,
        ready.source,
        ready.models,
        ready.model,
    )
    if prompt is None or schema is None or source is None or models is None or model is None:
        raise Misconfigured(f"pipeline `{ready.spec.name}` is not complete", problems=tuple(ready.problems))
    return _Parts(
        spec=ready.spec,
        fields=ready.fields,
        prompt=prompt,
        schema=schema,
        source=source,
        models=models,
        model=model,
    )


def _route(parts: _Parts, asks: Asks, handle: RunHandle, materials: Materials) -> Route:
    spec, asked_at = parts.spec, handle.started_at.timestamp()

    def transformer(of: Model) -> Transformer:
        return Transformer(
            prompt=parts.prompt,
            ask=asks,
            model=of,
            schema=parts.schema,
            pipeline=spec.name,
            cache=spec.transform.cache,
            salt=handle.salt,
            asked_at=asked_at,
        )

    panel = build_panel(
        spec.evaluate,
        ask=asks,
        judge=parts.models.judge,
        pipeline=spec.name,
        cache=spec.transform.cache,
        salt=handle.salt,
        asked_at=asked_at,
        root=materials.settings.root,
    )
    second, fallback = (
        parts.models.second(parts.fields),
        chosen_fallback(spec.load, parts.source.schema.names),
    )
    return Route(
        transform=transformer(parts.model),
        judges=panel,
        on_failure=OnFailure(
            policy=spec.load.on_failure,
            retries=spec.load.retries if spec.load.on_failure == "retry" else 0,
            model=None if second is None else transformer(second),
            values=fallback_values(fallback, parts.schema),
        ),
        samples=materials.samples or {},
    )


def versions(ready: Prepared, recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """What determined the outputs, for people: prompt, contexts, models; and by their hashes the texts that are kept."""
    prompt, models, spec = ready.prompt, ready.models, ready.spec
    return {
        "pipeline": spec.version,
        "prompt": None
        if prompt is None
        else {"name": prompt.name, "version": prompt.version, "sha256": prompt.digest},
        "contexts": {} if prompt is None else dict(prompt.contexts),
        "context_sha256": {}
        if prompt is None
        else {t.name: t.digest for t in prompt.texts if t.kind == "context"},
        "recipe": content_digest(to_json(recipe).decode()),
        "model": None if ready.model is None else ready.model.name,
        "judge": None if models is None or not spec.evaluate.evaluators else models.judge(None).name,
        "loom_dagster": importlib.metadata.version("loom-dagster"),
    }


def _pace(model: Model, judge: Model) -> Pace:
    """Records on their way at once: enough to keep the transform's model busy while others are judged. And as
    many again may be open, so that the next ones are there."""
    workers = model.in_flight + (judge.in_flight if judge.name != model.name else model.in_flight // 2)
    return Pace(workers=workers, room=Room(records=max(Room().records, 2 * workers)))
