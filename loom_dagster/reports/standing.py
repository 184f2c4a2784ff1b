"""How a run, and with it its pipeline, stands: one word that people know."""

from __future__ import annotations

from loom_dagster.ledger import RunNumbers

__all__ = ["state_of"]


def state_of(run: RunNumbers, *, alive: bool) -> str:
    """released, held, deferred, running, open (it did not end and nobody goes on with it), failed, superseded, or
    succeeded without a release, as an empty run does. ``alive``: whether the run of its slot is."""
    if run.status == "running":
        return "running" if alive else "open"
    if run.status == "interrupted":
        return "open"
    if run.released_at is not None and run.status in ("succeeded", "held"):
        return "released"
    return run.status
