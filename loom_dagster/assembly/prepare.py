"""Everything that can be known of a pipeline before the first call is known here.

``loom validate`` shows it, a run refuses to start on it: one function, so that the two never differ.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from loom_dagster.assembly.desk import check_batches
from loom_dagster.assembly.executing import check_execution
from loom_dagster.assembly.fallbacks import check_fallback
from loom_dagster.assembly.increments import Start, start_of
from loom_dagster.assembly.model_problems import check_models
from loom_dagster.assembly.models import Models
from loom_dagster.assembly.pieces import check_partitions, load_to_check
from loom_dagster.assembly.places import destination_place, place_at, source_place
from loom_dagster.assembly.prepared import Prepared
from loom_dagster.assembly.quarantine_table import quarantine_place
from loom_dagster.assembly.redacting import redactor
from loom_dagster.assembly.state_files import check_state_files
from loom_dagster.errors import LoomError, Misconfigured, Problem, Transient
from loom_dagster.evaluate import check_evaluators
from loom_dagster.extract import Source, open_source
from loom_dagster.gateway import PriceBook
from loom_dagster.load import check_destination
from loom_dagster.prompts import Prompt, compile_prompt
from loom_dagster.release import check_columns
from loom_dagster.settings import RunOptions, Settings
from loom_dagster.spec import PipelineFile, load_mode, names_partition, upstream_name
from loom_dagster.spec.models import FieldSpec, Load
from loom_dagster.transform import OutputSchema, check_key_fields
from loom_dagster.watermark import Watermark

__all__ = ["check_columns_of", "prepare"]

T = TypeVar("T")


def prepare(
    file: PipelineFile,
    settings: Settings,
    options: RunOptions,
    table_of: Callable[[str], Path],
    *,
    scratch: Path,
    watermark: Watermark | None = None,
    partition: str = "",
    now: datetime | None = None,
    environ: Mapping[str, str] = os.environ,
    validating: bool = False,
    without: Collection[str] = (),
) -> Prepared:
    """Put ``file`` together and check it. Never raises for what a user wrote: see ``problems``.

    ``table_of`` says where the released table of another pipeline is. ``watermark``: how far an incremental pipeline has come. ``partition``: which one is read. ``validating``: an upstream pipeline that has nothing released yet is a warning, as in every new project.
    ``without``: what is not needed and not looked at: ``source`` and destination; the ``keys`` of models and whether anybody serves them.
    """
    ready = Prepared(
        file=file, settings=settings, options=options, prices=PriceBook.load(), partition=partition, now=now
    )
    ready.problems.extend((*file.problems, *check_state_files(settings)))
    if now is not None:
        ready.problems.extend(check_partitions(file, now))
    spec, where, found = file.spec, file.where, ready.problems
    ready.prompt, of_prompt = compile_prompt(file, settings, strict=options.strict)
    found.extend(of_prompt)
    ready.fields = _fields(ready.prompt, file, found)
    ready.schema = _attempt(lambda: OutputSchema.of(ready.fields), where("load", "schema"), found)
    ready.models = _attempt(
        lambda: Models(spec, settings, options, ready.prices), where("transform", "model"), found
    )
    if ready.models is not None:
        ready.model = ready.models.transform(ready.fields)
        if "keys" not in without:
            ready.problems.extend(check_models(ready, environ))
            ready.problems.extend(check_batches(ready, environ))
    if spec.extract.redact:
        at = where("extract", "redact")
        ready.redactor = _attempt(lambda: redactor(settings, environ, where=at, found=found), at, found)
    if "source" in without:
        return ready
    found.extend(check_execution(ready))
    started = _attempt(
        lambda: start_of(spec, options, watermark, partition=partition, validating=validating),
        where("extract", "incremental"),
        found,
    )
    ready.start = started or Start()
    ready.source = _open(ready, table_of, scratch, validating=validating)
    if ready.source is not None:
        found.extend(check_columns_of(ready, ready.source.schema))
    place = destination_place(spec, settings)
    found.extend(check_destination(load_to_check(spec), place, where=lambda *loc: where("load", *loc)))
    quarantined = quarantine_place(spec, settings)
    if quarantined is not None:
        load = Load(destination=quarantined.uri)
        found.extend(check_destination(load, quarantined, where=lambda *loc: where("load", "quarantine")))
    return ready


def _open(
    ready: Prepared, table_of: Callable[[str], Path], scratch: Path, *, validating: bool
) -> Source | None:
    where = ready.file.where("extract", "source")
    if ready.spec.extract.redact and ready.redactor is None:
        return None  # its key cannot be used; that is told
    try:
        return _source_of(ready, table_of, scratch)
    except Misconfigured as error:
        # what one partition lacks says nothing of the others
        of_time = validating and (error.kind == "not_released" or names_partition(ready.spec.extract.source))
        found = error.problems or (_problem(error, where),)
        ready.problems.extend(replace(p, level="warning") if of_time else p for p in found)
    except Transient as error:
        if not validating:
            raise
        ready.problems.append(_problem(error, where))
    return None


def _source_of(ready: Prepared, table_of: Callable[[str], Path], scratch: Path) -> Source:
    """The opened source; ``pipeline://name`` is that pipeline's latest released table.

    Raises Misconfigured when it cannot be read.
    """
    spec, start = ready.spec, ready.start
    above = upstream_name(spec.extract.source)
    from_pipeline = above is not None
    return open_source(
        spec.extract,
        source_place(spec, ready.settings, ready.partition)
        if above is None
        else place_at(str(table_of(above)), spec, ready.settings),
        batch_size=spec.transform.batch_size,
        scratch=scratch,
        from_pipeline=from_pipeline,
        values=start.values,
        window=start.window,
        known=start.known,
        redactor=ready.redactor,
    )


def check_columns_of(ready: Prepared, schema: pa.Schema) -> tuple[Problem, ...]:
    """What of the pipeline does not fit a source with these columns."""
    spec, where, columns = ready.spec, ready.file.where, list(schema.names)
    if not columns:  # an empty file has nothing to check against
        return ()
    found: list[Problem] = []
    if ready.prompt is not None:
        found.extend(ready.prompt.check_columns(columns))
    if ready.schema is not None:
        found.extend(check_columns(schema, ready.schema.arrow, where=where("load", "schema")))
        found.extend(
            check_evaluators(
                spec.evaluate, columns, list(ready.schema.arrow.names), where=where, root=ready.settings.root
            )
        )
    found.extend(check_key_fields(spec.transform.cache, columns, where=where))
    found.extend(_check_load(ready, columns))
    return tuple(found)


def _check_load(ready: Prepared, columns: list[str]) -> list[Problem]:
    spec, where, found = ready.spec, ready.file.where, list[Problem]()
    outputs = [] if ready.schema is None else list(ready.schema.arrow.names)
    if isinstance(spec.load.columns, tuple):
        for name in spec.load.columns:
            if name not in columns and name not in outputs:
                found.append(
                    Problem(
                        what=f"`load.columns` names `{name}`, which is neither a source nor an output column",
                        where=where("load", "columns"),
                        fix=f"known: {', '.join([*columns, *outputs][:30])}",
                    )
                )
        missing = [k for k in spec.extract.key if k not in spec.load.columns]
        if missing and load_mode(spec) == "upsert":
            found.append(
                Problem(
                    what=f"an upsert needs its key in the destination, and `load.columns` leaves out `{missing[0]}`",
                    where=where("load", "columns"),
                    fix=f"add `{missing[0]}`",
                )
            )
    found.extend(check_fallback(spec.load, columns, ready.schema, where=where))
    return found


def _fields(
    prompt: Prompt | None, file: PipelineFile, found: list[Problem]
) -> Mapping[str, FieldSpec] | None:
    """load.schema, else the prompt's; both and different is an error."""
    of_load = file.spec.load.schema_
    of_prompt = None if prompt is None else prompt.fields
    if of_load is None or of_prompt is None:
        return of_load or of_prompt
    if _bare(of_load) != _bare(of_prompt):
        found.append(
            Problem(
                what=f"`load.schema` and the schema in prompt `{prompt.name if prompt else ''}` differ",
                where=file.where("load", "schema"),
                fix="keep one of the two",
            )
        )
    return of_load


def _bare(fields: Mapping[str, FieldSpec]) -> Mapping[str, Any]:
    return {name: f.model_dump(exclude={"description"}) for name, f in fields.items()}


def _attempt(make: Callable[[], T], where: str, found: list[Problem]) -> T | None:
    try:
        return make()
    except Misconfigured as error:
        found.extend(error.problems or (_problem(error, where),))
    except LoomError as error:
        found.append(_problem(error, where))
    return None


def _problem(error: LoomError, where: str) -> Problem:
    at = f"{where}" if error.where is None or error.where == where else f"{where} -> {error.where}"
    if error.kind == "database":
        return Problem(what=error.what, where=at, fix=error.fix, said=error.why)
    what = error.what if error.why is None else f"{error.what}: {error.why}"
    return Problem(what=what, where=at, fix=error.fix)
