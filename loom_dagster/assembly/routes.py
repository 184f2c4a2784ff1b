"""How a record of a prepared pipeline is settled: in a run's own process and on workers, by the same objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loom_dagster.assembly.fallbacks import chosen_fallback, fallback_values
from loom_dagster.assembly.models import Models
from loom_dagster.assembly.prepared import Prepared
from loom_dagster.errors import Misconfigured
from loom_dagster.evaluate import build_panel
from loom_dagster.gateway import Asks, Model
from loom_dagster.ledger import RunHandle
from loom_dagster.pipeline import OnFailure, Pace, Room, Route
from loom_dagster.prompts import Prompt
from loom_dagster.release import Stamp
from loom_dagster.spec.models import FieldSpec, Pipeline
from loom_dagster.transform import OutputSchema, Transformer

__all__ = ["Parts", "pace_of", "parts_of", "route_of", "stamp_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A prepared pipeline without problems: nothing is missing that records are settled with."""

    spec: Pipeline
    fields: Mapping[str, FieldSpec] | None
    prompt: Prompt
    schema: OutputSchema
    models: Models
    model: Model


def parts_of(ready: Prepared) -> Parts:
    ready.require()
    prompt, schema, models, model = ready.prompt, ready.schema, ready.models, ready.model
    if prompt is None or schema is None or models is None or model is None:
        raise Misconfigured(f"pipeline `{ready.spec.name}` is not complete", problems=tuple(ready.problems))
    return Parts(
        spec=ready.spec,
        fields=ready.fields,
        prompt=prompt,
        schema=schema,
        models=models,
        model=model,
    )


def route_of(
    parts: Parts,
    asks: Asks,
    handle: RunHandle,
    *,
    root: Path,
    columns: Sequence[str],
    samples: Mapping[str, int] | None,
) -> Route:
    """The way of a record of a source with these ``columns``; the same in every process."""
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
        root=root,
    )
    second, fallback = (
        parts.models.second(parts.fields),
        chosen_fallback(spec.load, columns),
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
        samples=samples or {},
    )


def stamp_of(parts: Parts, run_id: str) -> Stamp:
    prompt = parts.prompt
    return Stamp(
        run_id=run_id,
        prompt_name=prompt.name,
        prompt_version=prompt.version,
        context_versions=dict(prompt.contexts),
        pipeline_version=parts.spec.version,
    )


def pace_of(parts: Parts) -> Pace:
    """Records on their way at once: enough to keep the transform's model busy while others are judged. And as
    many again may be open, so that the next ones are there."""
    model, judge = parts.model, parts.models.judge(None)
    workers = model.in_flight + (judge.in_flight if judge.name != model.name else model.in_flight // 2)
    return Pace(workers=workers, room=Room(records=max(Room().records, 2 * workers)))
