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
from loom_dagster.assembly.nodes import engine_of
from loom_dagster.assembly.prepared import Prepared
from loom_dagster.assembly.recipe import recipe_of, version_rows
from loom_dagster.assembly.routes import Parts, pace_of, parts_of, route_of, stamp_of
from loom_dagster.batches import Desk
from loom_dagster.clock import Clock
from loom_dagster.errors import Misconfigured
from loom_dagster.extract import Source
from loom_dagster.gateway import AnswerStore, Asks, Gateway, Shares
from loom_dagster.ledger import Batches, RunHandle
from loom_dagster.pipeline import Plan, Route
from loom_dagster.prompts import content_digest
from loom_dagster.records import Batch, to_json
from loom_dagster.release import Releases, Written, gone
from loom_dagster.settings import Settings
from loom_dagster.spec import is_stream
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
    parts = parts_of(ready)
    source = _source(ready)
    if materials.batches is None and is_stream(parts.spec.extract.source):
        raise Misconfigured(
            f"`{parts.spec.name}` reads a stream, which does not end", fix=f"loom stream {parts.spec.name}"
        )
    spec, prompt, model, limit = ready.spec, parts.prompt, parts.model, ready.options.limit
    partition = TRIAL if ready.options.trial else ready.partition
    desk = _desk(ready, materials)
    recipe = recipe_of(ready)
    columns = source.schema if materials.source_schema is None else materials.source_schema
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
        source_schema=columns,
        output_schema=parts.schema.arrow,
        stamp=functools.partial(stamp_of, parts),
        folder=lambda run_id: materials.releases.folder(spec.name, partition, run_id),
        batches=materials.batches or (lambda: source.batches(limit)),
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
        route=_route(parts, materials, source),
        budgets=ready.budgets,
        warn_above=ready.warn_above,
        paid=functools.partial(paid_for, materials.store),
        pace=pace_of(parts),
        versions=versions(ready, recipe),
        version_rows=version_rows(prompt, model, recipe),
        notes=(*(str(p) for p in ready.warnings), *asked_at_once(ready, again=materials.batches is not None)),
        desk=desk,
        engine=engine_of(ready, columns),
        increment=ready.start.increment or materials.increment,
        monitoring=spec.monitoring,
        again=materials.samples is not None,
        samples=materials.samples or {},
        series=bool(spec.extract.partitions and spec.extract.partitions.every),
        reached=lambda: _reached(ready, source, materials),
        gone=functools.partial(_gone, ready, materials),
        tells=functools.partial(channels_for, ready.settings, spec),
        skips=spec.load.on_failure == "skip",
    )


def _desk(ready: Prepared, materials: Materials) -> Desk | None:
    """Where questions wait for a batch; records of the quarantine that are tried again are asked at once."""
    if materials.book is None or materials.batches is not None:
        return None
    return desk_of(ready, materials.book, materials.store, materials.clock)


def _route(parts: Parts, materials: Materials, source: Source) -> Callable[[Asks, RunHandle], Route]:
    return functools.partial(
        route_of,
        parts,
        root=materials.settings.root,
        columns=source.schema.names,
        samples=materials.samples,
    )


def _source(ready: Prepared) -> Source:
    if ready.source is None:
        raise Misconfigured(f"pipeline `{ready.spec.name}` is not complete", problems=tuple(ready.problems))
    return ready.source


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
