"""What changed from one run of a pipeline to another: texts, settings, counts, scores and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loom_dagster.assembly.describing import run_summary
from loom_dagster.assembly.known import chosen_run, snapshot_folder
from loom_dagster.assembly.past import Used, used_by
from loom_dagster.errors import Misconfigured
from loom_dagster.lineage import changes_between, text_diff
from loom_dagster.release.comparing import compare
from loom_dagster.release.finding import readable

if TYPE_CHECKING:
    from loom_dagster.assembly.state import State

__all__ = ["run_diff"]

_EXAMPLES = 5
_MEASURED = ("mean", "std", "passed", "failed", "errors", "threshold")


def run_diff(loom: State, name: str, first: str, second: str) -> dict[str, Any]:
    """From run ``first`` to run ``second``; None stands for what is not known of both. Raises Misconfigured when they are the same, or one is not the pipeline's."""
    if first == second:
        raise Misconfigured(
            f"both runs are {first}: there is nothing to compare", fix="name two: --diff RUN_A RUN_B"
        )
    one, two = (used_by(loom.ledger, chosen_run(loom, name, run)) for run in (first, second))
    before, after = one.run.outcome or {}, two.run.outcome or {}
    settings = changes_between(one.recipe, two.recipe) if one.recipe and two.recipe else None
    return {
        "pipeline": name,
        "first": {**run_summary(one.run), "version": one.run.version},
        "second": {**run_summary(two.run), "version": two.run.version},
        "prompt": _prompt(one, two),
        "contexts": _contexts(one, two),
        "settings": settings,
        "not_kept": [f"{u.run.run_id}: {u.missing}" for u in (one, two) if u.missing],
        "counts": _pairs(before.get("counts") or {}, after.get("counts") or {}),
        "cost": _pairs(*((o.get("spending") or {}).get("cost") or {} for o in (before, after))),
        "scores": _scores(loom, one, two),
        "records": _records(loom, name, one, two),
    }


def _prompt(one: Used, two: Used) -> dict[str, Any]:
    old, new = (u.versions.get("prompt") or {} for u in (one, two))
    known = one.prompt_text is not None and two.prompt_text is not None
    return {
        "before": old or None,
        "after": new or None,
        "changed": old.get("sha256") != new.get("sha256") if old and new else None,
        "diff": text_diff(one.prompt_text, two.prompt_text, str(new.get("name"))) if known else None,
    }


def _contexts(one: Used, two: Used) -> list[dict[str, Any]]:
    """Those that changed, came or went."""
    if not one.versions or not two.versions:
        return []
    old, new = (u.versions.get("contexts") or {} for u in (one, two))
    hashes = [u.versions.get("context_sha256") or {} for u in (one, two)]
    changed = []
    for name in dict.fromkeys([*old, *new]):
        same = hashes[0].get(name) == hashes[1].get(name) if all(hashes) else old.get(name) == new.get(name)
        if not same:
            diff = text_diff(one.contexts.get(name), two.contexts.get(name), name)
            changed.append({"name": name, "before": old.get(name), "after": new.get(name), "diff": diff})
    return changed


def _pairs(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        name: {"before": before.get(name), "after": after.get(name)}
        for name in dict.fromkeys([*before, *after])
    }


def _scores(loom: State, one: Used, two: Used) -> list[dict[str, Any]]:
    old, new = ({e["name"]: e for e in loom.ledger.evaluations(u.run.run_id)} for u in (one, two))
    names = dict.fromkeys([*(n for n in two.evaluators if n in new), *new, *old])
    return [
        {
            "name": name,
            "before": {k: old[name][k] for k in _MEASURED} if name in old else None,
            "after": {k: new[name][k] for k in _MEASURED} if name in new else None,
        }
        for name in names
    ]


def _records(loom: State, name: str, one: Used, two: Used) -> dict[str, Any]:
    """Record by record, as far as the files of both are there."""
    folders = [_folder(loom, name, used) for used in (one, two)]
    for used, folder in zip((one, two), folders, strict=True):
        if folder is None:
            return {"unknown": f"run {used.run.run_id} has left no snapshot ({used.run.status})"}
        if not (folder / "transformed.parquet").exists():
            return {"unknown": f"the files of run {used.run.run_id} are gone; what the ledger keeps is above"}
    first, second = (folder for folder in folders if folder is not None)
    both = [n for n in one.outputs if n in two.outputs]
    evaluators = _common(loom, one, two)
    with readable(first.parent):
        found = compare(first, second, outputs=both, evaluators=evaluators, shown=_EXAMPLES)
    return {
        "both": found.both,
        "only_first": found.only_first,
        "only_second": found.only_second,
        "newly_failed": found.newly_failed,
        "newly_passed": found.newly_passed,
        "outputs_changed": found.outputs_changed,
        "scores": found.scores,
        "examples": list(found.examples),
        "moved": list(found.moved),
    }


def _common(loom: State, one: Used, two: Used) -> Sequence[str]:
    old, new = ([e["name"] for e in loom.ledger.evaluations(u.run.run_id)] for u in (one, two))
    return [n for n in new if n in old]


def _folder(loom: State, name: str, used: Used) -> Path | None:
    place = next(iter(loom.ledger.kept.places(name, run_id=used.run.run_id)), None)
    return None if place is None else snapshot_folder(loom, name, place)
