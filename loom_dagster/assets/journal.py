"""What one Dagster run came to, for a caller in the same process (`loom run`)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from loom_dagster.assets.graph import Lane
from loom_dagster.errors import LoomError, Misconfigured

if TYPE_CHECKING:
    from loom_dagster.pipeline import LoadResult, Outcome

__all__ = ["Journal"]


@dataclass(slots=True)
class Journal:
    """By pipeline, what its ops returned or raised; by step, what Dagster says of those that failed."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    loads: dict[str, LoadResult] = field(default_factory=dict)
    errors: dict[str, LoomError] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    def forget(self) -> None:
        """Before the next Dagster run: what the last one came to is told."""
        for found in (self.outcomes, self.loads, self.errors, self.failures):
            found.clear()

    def outcome(self, lane: Lane) -> Outcome:
        """What became of one pipeline; a failed outcome that says why if its run gave none."""
        outcome = self.outcomes.get(lane.name)
        if outcome is None:
            return self._without_run(lane)
        load = self.loads.get(lane.name)
        if load is not None or outcome.trial or not outcome.released:
            return replace(outcome, load=load)
        return self._without_load(lane, outcome)

    def _without_run(self, lane: Lane) -> Outcome:
        from loom_dagster.pipeline import Counts, Outcome, Verdict

        why, kind = self.failures.get(f"{lane.identifier}__run"), self._kind(lane)
        if self.interrupted:
            why, kind = "interrupted before it began", "interrupted"
        elif why is None:
            source = lane.reads.uri if lane.reads else "?"
            why, kind = f"not run: what it reads, {source}, was not released", "upstream"
        return Outcome(
            run_id="",
            pipeline=lane.name,
            version=lane.file.spec.version,
            status="interrupted" if self.interrupted else "failed",
            counts=Counts(),
            verdict=Verdict(passed=False, reason=why),
            stopped_by=why,
            stopped_kind=kind,
        )

    def _without_load(self, lane: Lane, outcome: Outcome) -> Outcome:
        """The batch was released, but the step that checks it or the one that loads it failed."""
        from loom_dagster.pipeline import LoadResult
        from loom_dagster.spec import load_mode

        why = self.failures.get(f"{lane.identifier}__load") or self.failures.get(f"{lane.identifier}__checks")
        why = "interrupted" if self.interrupted else why or "the run ended before"
        missed = LoadResult(
            loaded=False,
            destination=lane.file.spec.load.destination,
            mode=load_mode(lane.file.spec),
            reason=why,
        )
        if outcome.status != "succeeded":
            return replace(outcome, load=missed)
        return replace(
            outcome,
            load=missed,
            status="interrupted" if self.interrupted else "failed",
            stopped_by=f"not loaded: {why}",
            stopped_kind=self._kind(lane),
        )

    def _kind(self, lane: Lane) -> str:
        error = self.errors.get(lane.name)
        if error is None:
            return "interrupted" if self.interrupted else "unexpected"
        return "misconfigured" if isinstance(error, Misconfigured) else error.kind
