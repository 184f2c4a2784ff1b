"""What the next run of a pipeline will cost, from its real prompts over its real rows; nothing is asked or written."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loom_dagster.assembly.dry_run import Notebook, Rehearsal
from loom_dagster.assembly.model_problems import check_models, models_of
from loom_dagster.assembly.prepared import Prepared
from loom_dagster.assembly.terms import Subject, estimate_of, nearest_model
from loom_dagster.costs import (
    Asked,
    BudgetForecast,
    Estimate,
    Forecast,
    History,
    Sample,
    typical,
)
from loom_dagster.errors import Misconfigured, Permanent
from loom_dagster.evaluate import Panel, build_panel
from loom_dagster.gateway import way_of
from loom_dagster.gateway.tokens import Tokenizer
from loom_dagster.ledger.past_answers import past_answers, past_texts
from loom_dagster.records import Answer, Record
from loom_dagster.settings import RunOptions
from loom_dagster.spec import is_stream
from loom_dagster.spec.models import JudgedSpec
from loom_dagster.transform import OUTPUT_COLUMN, Transformer

if TYPE_CHECKING:
    from loom_dagster.assembly.loom import Loom
    from loom_dagster.ledger import AnswerPlace, RunRow

__all__ = ["forecast"]

_OUTPUTS = 512  # stored outputs that judges are shown where there is none of the record's own
_VARIANTS = 64  # of outputs that are made up


def forecast(
    loom: Loom,
    name: str,
    *,
    options: RunOptions,
    partitions: Sequence[str],
    models: Sequence[str],
    most: int,
    seed: int = 0,
) -> Forecast:
    """Of the next run of ``name``, partition by partition (``[""]`` without any); ``models`` are reckoned beside its own.
    Counts ``most`` records at most, drawn by ``seed``. Raises Misconfigured for what cannot run or is not known."""
    if is_stream(loom.spec(name).extract.source):
        raise Misconfigured(
            f"`{name}` reads a stream, which does not end: there is no next run to estimate",
            fix=f"`loom cost {name}` says what it has cost so far",
        )
    with loom.scratch() as scratch:
        prepared = functools.partial(loom.prepared, name, scratch=scratch)
        first = _sound(prepared(options=options, partition=partitions[0]), asked_for=options.model)
        beside = [
            _sound(prepared(options=replace(options, model=m), partition=partitions[0]), asked_for=m)
            for m in models
        ]
        run = _open_run(loom, first)
        place = loom.answer_place
        store = loom.answers() if place.exists() else None
        try:
            stored = functools.partial(_stored, store)
            subjects = [_subject(ready, run, stored, loom) for ready in (first, *beside)]
            rest = (_sound(prepared(options=options, partition=key)) for key in partitions[1:])
            sample, rejected = asyncio.run(_look(_batches([first], rest), subjects, Sample(most, seed)))
        finally:
            if store is not None:
                store.close()
            for ready in beside:
                _close(ready)
    found = list(sample)
    estimates = [
        estimate_of(subject, [asked[i] for asked in found], sample.seen) for i, subject in enumerate(subjects)
    ]
    tokens = [a.tokens for asked in found for a in asked[0] if a.purpose == "transform"]
    return Forecast(
        pipeline=name,
        version=first.spec.version,
        records=sample.seen,
        rejected=rejected,
        sampled=len(sample),
        tokens=sum(tokens) / max(len(tokens), 1),
        estimate=estimates[0],
        others=estimates[1:],
        budgets=_budgets(loom, first, run, estimates[0]),
        partitions=[key for key in partitions if key],
        notes=[*_notes(first), *_ordered(loom, run)],
    )


def _sound(ready: Prepared, asked_for: str | None = None) -> Prepared:
    """``ready``, unless it cannot run. A key that is missing, or a price, is no reason not to estimate."""
    nobody = [m.name for _, m in models_of(ready) if way_of(m, os.environ, ready.prices) is None]
    about_models = {p.what for p in check_models(ready, os.environ)}
    problems = [p for p in ready.problems if p.what not in about_models]
    if any(p.level == "error" for p in problems):
        replace_problems = Misconfigured(f"pipeline `{ready.spec.name}` cannot run", problems=tuple(problems))
        _close(ready)
        raise replace_problems
    if nobody:
        _close(ready)
        what = f"nobody is known who serves the model `{nobody[0]}`"
        raise Misconfigured(
            what, where=f"--model {asked_for}" if asked_for else None, fix=nearest_model(nobody[0])
        )
    return ready


def _close(ready: Prepared) -> None:
    if ready.source is not None:
        ready.source.close()


def _batches(first: Sequence[Prepared], rest: Iterator[Prepared]) -> Iterator[tuple[Sequence[Record], int]]:
    """The records of one batch after the other, and how many rows were rejected."""
    for several in (first, rest):
        for ready in several:
            assert ready.source is not None  # noqa: S101 - it is sound
            try:
                for batch in ready.source.batches(ready.options.limit):
                    yield batch.records, len(batch.rejected)
            finally:
                ready.source.close()


async def _look(
    batches: Iterator[tuple[Sequence[Record], int]],
    subjects: Sequence[Subject],
    sample: Sample[list[Sequence[Asked]]],
) -> tuple[Sample[list[Sequence[Asked]]], int]:
    rejected = 0
    for records, refused in batches:
        rejected += refused
        for record in records:
            place = sample.place(record.id)
            if place is not None:
                sample.put(place, [await subject.rehearsal.look(record) for subject in subjects])
    return sample, rejected


def _stored(store: Any, key: bytes, since: float | None) -> Answer | None:
    answer: Answer | None = None if store is None else store.get(key, not_before=since)
    return answer


def _open_run(loom: Loom, ready: Prepared) -> RunRow | None:
    """The run that the next start would continue."""
    if not _has_ledger(loom):
        return None
    run = loom.ledger.open_run(ready.spec.name, ready.partition)
    return run if run is not None and run.fingerprint == ready.fingerprint() else None


def _has_ledger(loom: Loom) -> bool:
    from loom_dagster.ledger import ledger_address

    address = ledger_address(loom.settings)
    return not isinstance(address, Path) or address.exists()


def _subject(
    ready: Prepared,
    run: RunRow | None,
    stored: Callable[[bytes, float | None], Answer | None],
    loom: Loom,
) -> Subject:
    spec, prompt, schema, model, models = ready.spec, ready.prompt, ready.schema, ready.model, ready.models
    assert prompt is not None and schema is not None and model is not None and models is not None  # noqa: S101, PT018
    cache = spec.transform.cache
    history = History(
        past_answers(loom.answer_place, spec.name),
        prompt=f"{prompt.name}@{prompt.version}",
        retries=spec.load.on_failure == "retry" and cache.enabled,
    )
    by_name = {m.name: m for _, m in models_of(ready)}
    tokenizer = functools.cache(lambda name: Tokenizer(by_name[name], ready.prices))
    book = Notebook(stored=stored, tokenizer=tokenizer, counted=history.counted)
    asked_at = (run.started_at if run else loom.clock.now()).timestamp()
    salt = run.run_id if run else "~nobody"
    judged = tuple(e for e in spec.evaluate.evaluators if isinstance(e, JudgedSpec))
    transformer = Transformer(
        prompt=prompt, ask=book, model=model, schema=schema, pipeline=spec.name, cache=cache, salt=salt,
        asked_at=asked_at,
    )  # fmt: skip
    panel: Panel | None = None
    if judged:
        panel = build_panel(
            spec.evaluate.model_copy(update={"evaluators": judged}), ask=book, judge=models.judge,
            pipeline=spec.name, root=loom.settings.root, cache=cache, salt=salt, asked_at=asked_at,
        )  # fmt: skip
    return Subject(
        ready=ready,
        model=model,
        rehearsal=Rehearsal(
            notebook=book,
            transformer=transformer,
            panel=panel,
            outputs=_outputs(ready, loom.answer_place) if judged else [],
        ),
        history=history,
        judges={f"evaluate:{e.name}": models.judge(e.model) for e in judged},
        tokenizer=tokenizer,
    )


def _outputs(ready: Prepared, place: AnswerPlace) -> list[Mapping[str, Any]]:
    """As earlier ones were, else such as fit the schema."""
    schema = ready.schema
    assert schema is not None  # noqa: S101
    found: list[Mapping[str, Any]] = []
    for text in past_texts(place, ready.spec.name, _OUTPUTS):
        try:
            found.append(schema.parse(text))
        except Permanent:
            continue
    if found:
        return found
    body = schema.body if schema.structured else {"properties": {OUTPUT_COLUMN: {}}, "type": "object"}
    return [
        typical(body, variant=i, size="typical" if schema.structured else "text") for i in range(_VARIANTS)
    ]


def _budgets(loom: Loom, ready: Prepared, run: RunRow | None, found: Estimate) -> list[BudgetForecast]:
    limits = dict(ready.budgets.limits())
    if ready.warn_above is not None:
        limits["run"] = ready.warn_above
    if not limits:
        return []
    used = loom.ledger.books.used(ready.spec.name, run) if _has_ledger(loom) else {}
    return [
        BudgetForecast(
            name=name,
            limit=limit,
            used=(before := sum(used[name]) if name in used else 0.0),
            after=before + found.cost,
            after_high=before + found.high,
            stops=name != "run" or ready.warn_above is None,
        )
        for name, limit in limits.items()
    ]


def _notes(ready: Prepared) -> list[str]:
    spec, notes = ready.spec, [p.what for p in ready.warnings if p.what not in _about(ready)]
    if spec.load.on_failure == "fallback" and spec.load.fallback is not None and spec.load.fallback.model:
        notes.append(f"calls of the fallback model {spec.load.fallback.model} are not in the estimate")
    if ready.spec.transform.fallbacks:
        notes.append("calls that a model of `fallbacks` takes over are estimated as those of the first one")
    return notes


def _ordered(loom: Loom, run: RunRow | None) -> list[str]:
    """What the run that would be continued has sent already."""
    if run is None:
        return []
    number = sum(row.requests for row in loom.ledger.batches.open() if row.run_id == run.run_id)
    if not number:
        return []
    return [
        f"{number:,} of the questions are in batches already: they are in the estimate, and not asked again"
    ]


def _about(ready: Prepared) -> set[str]:
    return {p.what for p in check_models(ready, os.environ)}
