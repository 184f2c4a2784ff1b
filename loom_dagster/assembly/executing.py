"""Which engine settles a pipeline's records, and what of it cannot be."""

from __future__ import annotations

from importlib.util import find_spec

from loom_dagster.assembly.prepared import Prepared
from loom_dagster.errors import Problem
from loom_dagster.spec import is_stream

__all__ = ["check_execution"]


def check_execution(ready: Prepared) -> list[Problem]:
    """What stands against the engine that is wanted; whether the cluster is there shows when the run starts."""
    wanted, spec = ready.execution, ready.spec
    if not wanted.by_ray:
        return []
    own = spec.execution is not None
    where = ready.file.where("execution", "engine") if own else "[tool.loom.execution]"
    return [
        Problem(what=f"`engine: ray`: {what}", where=where, fix=fix)
        for what, fix in (_not_by_ray(ready), _not_installed())
        if what
    ]


def _not_by_ray(ready: Prepared) -> tuple[str, str]:
    spec = ready.spec
    if is_stream(spec.extract.source):
        return (
            "a stream is consumed in small batches, which one process settles sooner than a cluster starts",
            "write `execution: {engine: local}`; start `loom stream` several times for more",
        )
    if spec.transform.mode == "batch":
        return (
            "with `transform.mode: batch` the work is done at the provider, and workers would only wait",
            "write `execution: {engine: local}`, or `transform: {mode: online}`",
        )
    return "", ""


def _not_installed() -> tuple[str, str]:
    """Looked for, not imported: that takes seconds, which a code location has not."""
    if find_spec("ray") is None:
        return "Ray is not installed", "pip install 'loom-dagster[ray]'"
    return "", ""
