"""What Dagster alone knows of what went wrong: runs that died or never started, steps that failed in a way nobody
foresaw, checks of others on our assets, checks reported without a run.

What loom knows it has told itself, when it knew; here it is told again under the same identity, which changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from loom_dagster.alerts import channels_for
from loom_dagster.assets.gate import checks_of
from loom_dagster.assets.options import OPTIONS_KEY, LoomOptions
from loom_dagster.assets.partitions import PARTITION, RANGE_START, partitioning_of
from loom_dagster.assets.translator import LoomTranslator
from loom_dagster.ledger import Fault, Findings

if TYPE_CHECKING:
    from loom_dagster.assets.graph import Graph, Lane
    from loom_dagster.assets.runs import Runs

__all__ = ["KINDS", "Teller"]

KINDS = {
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    dg.DagsterEventType.STEP_FAILURE,
}
_SUMMARY = 500  # characters of what somebody's check says of itself
_ENDED_WELL = ("succeeded", "held")


@dataclass(frozen=True, slots=True)
class Teller:
    """Tells the outbox of what it is shown."""

    runs: Runs
    pipelines: Mapping[dg.AssetKey, str]
    ours: Collection[tuple[dg.AssetKey, str]]
    lanes: Sequence[Lane] = field(default=())

    @classmethod
    def of(cls, graph: Graph, runs: Runs, translator: LoomTranslator) -> Teller:
        """``ours``: the checks that the runs themselves tell of."""
        pipelines, ours = {}, set()
        for lane in graph.lanes:
            for node in (lane.transformed, lane.quarantine, lane.loaded):
                pipelines[translator.key(node)] = lane.name
            ours |= {(translator.key(lane.transformed), check.name) for check in checks_of(lane)}
        return cls(runs, pipelines, ours, graph.lanes)

    def run(self, record: dg.RunRecord, entries: Sequence[dg.EventLogEntry]) -> None:
        """A run that is over, with its events of ``KINDS``."""
        run = record.dagster_run
        if _trial(run):
            return
        blocked = set()
        for entry in entries:
            if (found := _evaluation(entry)) is not None:
                self.check(found, _moment(entry.timestamp), run)
                if not found.passed and found.asset_key in self.pipelines:
                    blocked.add(self.pipelines[found.asset_key])
        if run.status is dg.DagsterRunStatus.FAILURE:
            ended = _moment(record.end_time or record.update_timestamp.timestamp())
            for failure in self._failures(run, entries, blocked):
                self._failed(failure, run, ended)

    def check(self, found: dg.AssetCheckEvaluation, at: datetime, run: dg.DagsterRun | None) -> None:
        """A check that was evaluated, in a run or without one."""
        pipeline = self.pipelines.get(found.asset_key)
        if pipeline is None or (found.asset_key, found.check_name) in self.ours:
            return  # what became of a batch was told with it
        by = run.run_id if run else None
        partition = found.partition or (self._partition(pipeline, run) if run else "")
        name, run_id = found.check_name, by or f"at {at.isoformat()}"
        if found.passed:
            findings = Findings(passed=[name])
        else:
            facts = {"summary": (found.description or "the check failed")[:_SUMMARY]}
            findings = Findings(failed=[self._fault(pipeline, name, run_id, facts, by)])
        self.runs.ledger.outbox.tell(
            pipeline, partition, findings, run_id=run_id, dagster_run_id=by, recovered="passed", at=at
        )

    def _failures(
        self, run: dg.DagsterRun, entries: Sequence[dg.EventLogEntry], blocked: set[str]
    ) -> Iterator[_Failure]:
        """What failed. A step of checks that failed because one of them did is no news;
        without a step that failed, everything that was to be made and is not has failed."""
        steps = [e for e in entries if e.dagster_event and e.dagster_event.is_step_failure]
        for entry in steps:
            event = entry.get_dagster_event()
            for lane in self.lanes:
                step = str(event.step_key).partition("[")[0]
                if step == f"{lane.identifier}__checks" and lane.name in blocked:
                    continue
                if step in {f"{lane.identifier}__{part}" for part in ("run", "checks", "load")}:
                    check = "load_failed" if step.endswith("__load") else "run_failed"
                    yield _Failure(lane.name, check, _reason(event), foreseen=_foreseen(event))
        if steps:
            return
        planned = _keys(entries, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
        made = _keys(entries, dg.DagsterEventType.ASSET_MATERIALIZATION)
        missing = (planned | set(run.asset_selection or ())) - made
        for pipeline in sorted({self.pipelines[key] for key in missing if key in self.pipelines}):
            yield _Failure(pipeline, "run_failed", "the run died, or could not be started")

    def _failed(self, failure: _Failure, run: dg.DagsterRun, at: datetime) -> None:
        pipeline, check = failure.pipeline, failure.check
        outbox, partition = self.runs.ledger.outbox, self._partition(pipeline, run)
        if outbox.explained(pipeline, run.run_id, () if failure.foreseen else (check, "run_deferred")):
            return
        fault = self._fault(pipeline, check, run.run_id, {"summary": failure.words}, run.run_id)
        fault = replace(fault, once=failure.foreseen)  # told of its batch, perhaps in a run before this one
        outbox.tell(pipeline, partition, Findings(failed=[fault]), run_id=run.run_id, at=at)
        # told late: what ended well since then has recovered from it
        for later in self.runs.ledger.runs(pipeline):
            if later.partition == partition and later.finished_at and later.finished_at > at:
                if later.status in _ENDED_WELL and check == "run_failed":
                    outbox.tell(pipeline, partition, Findings(passed=[check]), run_id=later.run_id)
                return

    def _partition(self, pipeline: str, run: dg.DagsterRun) -> str:
        """The partition that a run was of; of a range the one that had not ended, or the first."""
        lane = next(lane for lane in self.lanes if lane.name == pipeline)
        if partitioning_of(lane.transformed) is None:
            return ""
        if PARTITION in run.tags:
            return run.tags[PARTITION]
        begun = [r for r in self.runs.ledger.runs(pipeline) if r.dagster_run_id == run.run_id]
        going_on = [r.partition for r in begun if r.finished_at is None]
        return going_on[0] if going_on else run.tags.get(RANGE_START, "")

    def _fault(
        self, pipeline: str, check: str, run_id: str, facts: Mapping[str, Any], by: str | None
    ) -> Fault:
        file = self.runs.project.files.get(pipeline)
        channels = channels_for(self.runs.settings, file.spec if file else None, check)
        return Fault(check=check, run_id=run_id, facts=facts, channels=channels, dagster_run_id=by)


@dataclass(frozen=True, slots=True)
class _Failure:
    """``foreseen``: our own code has said so, knowing what it told of the batch."""

    pipeline: str
    check: str
    words: str
    foreseen: bool = False


def _evaluation(entry: dg.EventLogEntry) -> dg.AssetCheckEvaluation | None:
    event = entry.dagster_event
    data = event.event_specific_data if event else None
    return data if isinstance(data, dg.AssetCheckEvaluation) else None


def _keys(entries: Sequence[dg.EventLogEntry], kind: dg.DagsterEventType) -> set[dg.AssetKey]:
    events = [entry.dagster_event for entry in entries if entry.dagster_event is not None]
    return {e.asset_key for e in events if e.event_type is kind and e.asset_key is not None}


def _foreseen(event: dg.DagsterEvent) -> bool:
    return event.step_failure_data.user_failure_data is not None


def _reason(event: dg.DagsterEvent) -> str:
    """What our own code said; of an error that nobody foresaw its class only, as its text may hold anything."""
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description[:_SUMMARY]
    error = data.error.cause or data.error if data.error else None
    return f"the step {event.step_key} failed: {error.cls_name if error else 'unknown'}"


def _trial(run: dg.DagsterRun) -> bool:
    config: Any = run.run_config
    try:
        given = config.get("resources", {}).get(OPTIONS_KEY, {}).get("config", {})
        return LoomOptions(**given).run_options().trial
    except (AttributeError, TypeError, ValueError):  # a run that never started because of its config
        return False


def _moment(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)
