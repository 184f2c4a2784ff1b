"""What a pipeline hangs together with, and what one of its runs used and came to: documents for people and tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from loom_dagster.assembly.known import chosen_run, snapshot_folder
from loom_dagster.assembly.past import Used, used_by
from loom_dagster.assembly.recipe import without_secrets
from loom_dagster.ledger import RunRow, SnapshotPlace, SnapshotRow
from loom_dagster.prompts import compile_prompt
from loom_dagster.records import digest
from loom_dagster.spec import PipelineFile, load_mode, upstream_name
from loom_dagster.spec.files import shown_path
from loom_dagster.spec.models import JudgedSpec

if TYPE_CHECKING:
    from loom_dagster.assembly.state import State

__all__ = ["pipeline_lineage", "run_lineage"]


def pipeline_lineage(loom: State, name: str) -> dict[str, Any]:
    """A pipeline as it is written now, and its last run. Raises Misconfigured for an unknown or broken one."""
    file = loom.project.pipeline(name)
    spec, settings = file.spec, loom.settings
    model = spec.transform.model or settings.model
    outputs = [{"uri": without_secrets(spec.load.destination), "mode": load_mode(spec), "what": "passed"}]
    if spec.load.quarantine is not None:
        outputs.append({"uri": without_secrets(spec.load.quarantine), "mode": "upsert", "what": "quarantine"})
    return {
        "pipeline": name,
        "version": spec.version,
        "description": spec.description,
        "where": file.where("name"),
        "last_run": _last_run(loom, name),
        **_prompt_now(loom, file),
        "model": {"name": model, "version": spec.transform.model_version},
        "inputs": [{"uri": without_secrets(spec.extract.source), "key": list(spec.extract.key)}],
        "outputs": outputs,
        "evaluators": [
            {
                "name": e.name,
                "type": e.type,
                "by": "Arbiter" if isinstance(e, JudgedSpec) else "local",
                "threshold": e.threshold,
                "model": (e.model or spec.evaluate.model or model) if isinstance(e, JudgedSpec) else None,
            }
            for e in spec.evaluate.evaluators
        ],
        "upstream": [_neighbour(loom, n) for n in loom.project.upstream(name)],
        "downstream": [_neighbour(loom, n) for n in loom.project.downstream(name)],
        "reads_pipeline": upstream_name(spec.extract.source),
    }


def _prompt_now(loom: State, file: PipelineFile) -> dict[str, Any]:
    prompt, problems = compile_prompt(file, loom.settings)
    if prompt is None:
        said = [str(p) for p in problems if p.level == "error"]
        return {
            "prompt": {"file": file.spec.transform.prompt, "problems": said},
            "contexts": [],
            "output_columns": [],
        }
    own, *contexts = prompt.texts
    root = loom.settings.root
    return {
        "prompt": {
            "name": own.name,
            "file": shown_path(own.path, root),
            "version": own.version,
            "sha256": own.digest,
            "columns": sorted(prompt.columns),
        },
        "contexts": [
            {"name": c.name, "file": shown_path(c.path, root), "version": c.version, "sha256": c.digest}
            for c in contexts
        ],
        "output_columns": list(file.spec.load.schema_ or prompt.fields or ("output",)),
    }


def _neighbour(loom: State, name: str) -> dict[str, Any]:
    file = loom.project.files.get(name)
    return {"pipeline": name, "version": None if file is None else file.spec.version}


def _last_run(loom: State, name: str) -> dict[str, Any] | None:
    """The newest run, trials aside."""
    run = next((r for r in loom.ledger.runs(name) if not r.partition.startswith("~")), None)
    return None if run is None else run_summary(run)


def run_summary(run: RunRow) -> dict[str, Any]:
    """A run in a few words."""
    outcome = run.outcome or {}
    return {
        "run": run.run_id,
        "partition": _partition(run),
        "status": run.status,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "trial": bool(outcome.get("trial")) or run.partition.startswith("~trial"),
        "counts": outcome.get("counts"),
        "cost_usd": _total(outcome),
    }


def run_lineage(loom: State, name: str, run_id: str) -> dict[str, Any]:
    """What a run used and came to. Raises Misconfigured for a run that is not known, or another pipeline's."""
    run = chosen_run(loom, name, run_id)
    used, outcome = used_by(loom.ledger, run), run.outcome or {}
    recipe, spending = used.recipe, outcome.get("spending") or {}
    return {
        "pipeline": name,
        **run_summary(run),
        "version": run.version,
        "resumes": run.resumes,
        "dagster_run_id": run.dagster_run_id,
        "simulated": bool(outcome.get("simulated")),
        "prompt": used.versions.get("prompt"),
        "contexts": _contexts(used),
        "models": _models(used),
        "evaluators": _evaluators(loom, used),
        "gate": recipe.get("gate"),
        "input": recipe.get("extract"),
        "output": recipe.get("load"),
        "cost": spending.get("cost") or {},
        "calls": {k: spending.get(k) for k in ("calls", "reused", "input_tokens", "output_tokens")},
        "latency_s": {k: spending.get(k) for k in ("p50", "p95", "p99")},
        "reasons": outcome.get("reasons") or {},
        "monitors": outcome.get("monitors") or [],
        "stopped_by": outcome.get("stopped_by"),
        "snapshot": _snapshot(loom, name, run),
        "texts": used.missing or "kept",
        "prompt_columns": sorted(used.prompt.columns) if not isinstance(used.prompt, str) else [],
        "output_columns": used.outputs,
    }


def _contexts(used: Used) -> list[dict[str, Any]]:
    hashes = used.versions.get("context_sha256") or {}
    found = used.versions.get("contexts") or {}
    return [{"name": n, "version": v, "sha256": hashes.get(n)} for n, v in found.items()]


def _models(used: Used) -> list[dict[str, Any]]:
    """By their role, with the hash of what of them determines answers."""
    recipe = used.recipe
    if not recipe:
        roles = [("transform", used.versions.get("model")), ("judge", used.versions.get("judge"))]
        return [{"role": role, "name": name} for role, name in roles if name]
    many = [("transform", recipe["model"]), *(("fallback", m) for m in recipe["fallbacks"])]
    many += [("second", recipe["second"])] if recipe["second"] else []
    judged = ((n, recipe["evaluators"][n]) for n in used.evaluators)
    many += [(f"evaluate:{n}", e["judge"]) for n, e in judged if "judge" in e]
    answered = set(used.versions.get("models_used") or ())
    return [
        {
            "role": role,
            "name": identity["name"],
            "parameters": {k: v for k, v in identity.items() if k != "name" and v not in (None, {})},
            "hash": digest(identity).hex(),
            "answered": identity["name"] in answered if role in ("transform", "fallback", "second") else None,
        }
        for role, identity in many
        if identity
    ]


def _evaluators(loom: State, used: Used) -> list[dict[str, Any]]:
    order = used.evaluators
    kept = loom.ledger.evaluations(used.run.run_id)
    kept.sort(key=lambda e: order.index(e["name"]) if e["name"] in order else len(order))
    said: Mapping[str, Any] = used.recipe.get("evaluators", {})
    return [
        {
            **{k: v for k, v in e.items() if k != "histogram"},
            "judge": (said.get(e["name"], {}).get("judge") or {}).get("name"),
        }
        for e in kept
    ]


def _snapshot(loom: State, name: str, run: RunRow) -> dict[str, Any] | None:
    row = loom.ledger.snapshot(name, run.run_id)
    if row is None:
        return None
    place = SnapshotPlace(run_id=row.run_id, partition=row.partition, folder=row.folder)
    folder = snapshot_folder(loom, name, place)
    return {
        "folder": shown_path(folder, loom.settings.root),
        "files": "kept" if (folder / "transformed.parquet").exists() else "gone",
        "cleaned_at": row.cleaned_at,
        **_release(row),
    }


def _release(row: SnapshotRow) -> dict[str, Any]:
    return {
        "data_version": row.data_version,
        "verdict": {
            "passed": row.verdict_passed,
            "reason": row.verdict_reason,
            "pass_rate": row.pass_rate,
            "threshold": row.threshold,
        },
        "released_at": row.released_at,
        "released_by": row.released_by,
        "why": row.why,
        "loaded_at": row.loaded_at,
        "increment": row.increment,
        "watermark": row.watermark,
    }


def _partition(run: RunRow) -> str:
    """Of a trial, the partition that it tried."""
    if run.partition.startswith("~"):
        return str((run.outcome or {}).get("partition") or "")
    return run.partition


def _total(outcome: Mapping[str, Any]) -> float | None:
    costs = (outcome.get("spending") or {}).get("cost")
    return None if costs is None else float(sum(costs.values()))
