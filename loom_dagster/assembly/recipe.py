"""What determines a pipeline's answers and verdicts, as one document that is kept with its runs.

With the texts of prompt and contexts it is enough to say later what a record's question was, and what has changed
between two runs. Nothing secret is in it: addresses come without login and query.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loom_dagster.assembly.models import Models
from loom_dagster.assembly.prepared import Prepared
from loom_dagster.gateway import Model
from loom_dagster.ledger import VersionRow
from loom_dagster.prompts import Prompt, content_digest
from loom_dagster.records import digest, to_json
from loom_dagster.spec import load_mode
from loom_dagster.spec.models import JudgedSpec

__all__ = ["recipe_of", "version_rows", "without_secrets"]


def recipe_of(ready: Prepared) -> dict[str, Any]:
    """Of a prepared pipeline without problems."""
    spec, models, schema = ready.spec, ready.models, ready.schema
    return {
        "format": 1,
        "extract": {
            "source": without_secrets(spec.extract.source),
            "key": list(spec.extract.key),
            "query": spec.extract.query,
            "redact": list(spec.extract.redact),
        },
        "model": None if ready.model is None else _identity(ready.model),
        "fallbacks": [] if ready.model is None else [_identity(m) for m in ready.model.fallbacks],
        "second": None if models is None else _identity(models.second(ready.fields)),
        "schema": None if schema is None else schema.body,
        "structured": schema is not None and schema.structured,
        "outputs": [] if schema is None else list(schema.arrow.names),
        "cache": spec.transform.cache.model_dump(mode="json"),
        "evaluators": {} if models is None else _evaluators(ready, models),
        "evaluator_order": [e.name for e in spec.evaluate.evaluators],
        "gate": spec.evaluate.quality_gate.model_dump(mode="json"),
        "batch_threshold": spec.evaluate.batch_threshold,
        "load": {
            "destination": without_secrets(spec.load.destination),
            "mode": load_mode(spec),
            "on_failure": spec.load.on_failure,
            "retries": spec.load.retries,
            "columns": list(spec.load.columns) if isinstance(spec.load.columns, tuple) else spec.load.columns,
        },
    }


def version_rows(prompt: Prompt, model: Model, recipe: Mapping[str, Any]) -> list[VersionRow]:
    """For the ledger: every version that took part, by what it is, with the texts that are kept."""
    text = to_json(recipe).decode()
    return [
        *(
            VersionRow(kind=each.kind, name=each.name, version=each.version, hash=each.digest, text=each.text)
            for each in prompt.texts
        ),
        VersionRow(kind="model", name=model.name, version="", hash=digest(model.identity).hex()),
        VersionRow(kind="recipe", name="", version="1", hash=content_digest(text), text=text),
    ]


def without_secrets(uri: str) -> str:
    """``uri`` without user, password and query, which may hold a token."""
    scheme, found, rest = uri.partition("://")
    if not found:
        return uri
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def _evaluators(ready: Prepared, models: Models) -> dict[str, Any]:
    return {
        e.name: {
            **e.model_dump(mode="json", by_alias=True, exclude={"name"}, exclude_none=True),
            **({"judge": _identity(models.judge(e.model))} if isinstance(e, JudgedSpec) else {}),
        }
        for e in ready.spec.evaluate.evaluators
    }


def _identity(model: Model | None) -> dict[str, Any] | None:
    if model is None:
        return None
    base = model.api_base
    return {**model.identity, "api_base": None if base is None else without_secrets(base)}
