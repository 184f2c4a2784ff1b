"""What a pipeline is, without running it: its code version, and the columns it loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from loom_dagster.errors import Misconfigured
from loom_dagster.prompts import Prompt, TextFile, compile_prompt
from loom_dagster.records import digest
from loom_dagster.settings import Settings
from loom_dagster.spec import PipelineFile
from loom_dagster.spec.documents import document_key
from loom_dagster.spec.models import FieldSpec

__all__ = ["code_version", "columns_to_load", "identity_of", "prompt_of"]


def code_version(file: PipelineFile, settings: Settings) -> str:
    """Twelve hex digits that change when prompt, contexts, model, parameters or evaluators do."""
    prompt, _ = compile_prompt(file, settings)
    return _version(file, settings, prompt)


def identity_of(file: PipelineFile, settings: Settings) -> tuple[str, Sequence[TextFile]]:
    """The code version, and the prompt's file with those of its contexts. Raises Misconfigured with what is wrong with
    them."""
    prompt = prompt_of(file, settings)
    return _version(file, settings, prompt), prompt.texts


def _version(file: PipelineFile, settings: Settings, prompt: Prompt | None) -> str:
    spec = file.spec
    return digest(
        "code:1",
        None if prompt is None else [prompt.digest, prompt.context_digest],
        spec.transform.model or settings.model,
        spec.transform.model_dump(
            mode="json", exclude={"limits", "timeout", "batch_size", "cache", "price", "mode"}
        ),
        spec.evaluate.model_dump(mode="json", by_alias=True),
        spec.load.model_dump(
            mode="json", by_alias=True, include={"schema_", "on_failure", "fallback", "retries"}
        ),
        *([spec.extract.redact] if spec.extract.redact else []),
    ).hex()[:12]


def prompt_of(file: PipelineFile, settings: Settings) -> Prompt:
    """Raises Misconfigured with what is wrong with it."""
    prompt, problems = compile_prompt(file, settings)
    if prompt is None:
        errors = tuple(p for p in problems if p.level == "error")
        raise Misconfigured(f"the prompt of `{file.spec.name}` cannot be used", problems=errors)
    return prompt


def columns_to_load(file: PipelineFile, settings: Settings, transformed: Path) -> list[str]:
    """Of a snapshot's table, the columns that go to the destination: key and output by default, with those
    of its lineage where they are wanted."""
    load, key = file.spec.load, file.spec.extract.key
    if load.columns != "all" and load.lineage is None and key:
        return _chosen(file, settings, key)
    import pyarrow.parquet as pq  # heavy, and only for this

    from loom_dagster.release.columns import ANSWERS

    names = pq.read_schema(transformed).names
    there = [c for c in names if not c.startswith("_loom_")]
    lineage = [c for c in names if c.startswith("_loom_") and c != ANSWERS]
    chosen = there if load.columns == "all" else _chosen(file, settings, key or document_key(there))
    return [*chosen, *(lineage if load.lineage else ())]


def _chosen(file: PipelineFile, settings: Settings, key: Sequence[str]) -> list[str]:
    load = file.spec.load
    if load.columns is not None:
        return list(load.columns)
    fields: Mapping[str, FieldSpec] | None = load.schema_
    if fields is None:
        prompt, _ = compile_prompt(file, settings)
        fields = None if prompt is None else prompt.fields
    return [*key, *(fields or ("output",))]
