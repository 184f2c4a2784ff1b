"""The checks on `<pipeline>/transformed`: one an evaluator, and the gate that blocks.

A step of its own, made from what the run stored. So a check can be run again alone, a trial
leaves no check results behind, and a failing gate blocks what depends on `transformed` while the
step that was paid for stays green. Every spec gets a result, whatever is stored: Dagster lets
downstream proceed past a blocking check that says nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from loom_dagster.assets.graph import Lane
from loom_dagster.assets.keys import identifier
from loom_dagster.assets.metadata import RELEASED_BY_GATE, histogram
from loom_dagster.assets.partitions import asked_keys, partitioning_of, partitions_definition
from loom_dagster.assets.ranges import of_range
from loom_dagster.assets.translator import GATE, Check, LoomTranslator

if TYPE_CHECKING:
    from loom_dagster.assets.runs import Runs
    from loom_dagster.release import Snapshot

__all__ = ["checks_of", "evaluator_result", "gate_result", "holds", "pipeline_checks"]


def checks_of(lane: Lane) -> list[Check]:
    """One an evaluator, in the YAML's order, and the gate last."""
    evaluate = lane.file.spec.evaluate
    found = []
    for spec in evaluate.evaluators:
        name = identifier(spec.name)
        found.append(
            Check(
                pipeline=lane.name,
                name=identifier(f"{name} ") if name == GATE else name,
                evaluator=spec.name,
                description=f"{spec.type}, threshold {spec.threshold:g}. Does not block.",
                blocking=False,
            )
        )
    wanted = evaluate.batch_threshold
    rule = "no batch threshold" if wanted is None else f"at least {wanted:.0%} of the batch must pass"
    gate = Check(
        pipeline=lane.name,
        name=GATE,
        evaluator=None,
        description=f"{evaluate.quality_gate.type} per record; {rule}. Blocks what depends on the batch.",
        blocking=True,
    )
    return [*found, gate]


def pipeline_checks(
    lane: Lane, asset: dg.AssetKey, *, runs: "Runs", translator: LoomTranslator
) -> dg.AssetChecksDefinition:
    """One step for all checks of a pipeline."""
    checks = checks_of(lane)
    specs = []
    for check in checks:
        spec = translator.check_spec(check, asset)
        if (spec.name, spec.asset_key, spec.blocking) != (check.name, asset, check.blocking):
            raise dg.DagsterInvalidDefinitionError(
                f"check_spec() changed name, asset or blocking of the check `{check.name}` of `{lane.name}`:"
                " what is released depends on them, so they stay as they are"
            )
        specs.append(spec)

    parts = partitioning_of(lane.transformed)
    definition = None if parts is None else partitions_definition(parts)

    @dg.multi_asset_check(name=f"{lane.identifier}__checks", specs=specs, can_subset=False)
    def evaluate(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        share = lane.file.spec.evaluate.batch_threshold
        keys = asked_keys(definition, context.run.tags)
        found = {key: runs.verdict(lane.name, key) for key in keys} if keys else runs.verdicts(lane.name)

        def one(check: Check, snapshot: "Snapshot | None") -> dg.AssetCheckResult:
            if check.evaluator is None:
                return gate_result(check, asset, snapshot)
            return evaluator_result(check, asset, snapshot, 1.0 if share is None else share)

        for check in checks:
            each = {key: one(check, snapshot) for key, snapshot in found.items()}
            yield of_range(each) if len(each) > 1 else next(iter(each.values()), one(check, None))

    return evaluate


def holds(snapshot: "Snapshot") -> bool:
    """Whether the gate keeps this batch back; an empty one is nothing to keep back."""
    empty = snapshot.verdict_passed and snapshot.counts.get("extracted") == 0
    return snapshot.released_at is None and not empty


def gate_result(check: Check, asset: dg.AssetKey, snapshot: "Snapshot | None") -> dg.AssetCheckResult:
    """The stored verdict. ERROR blocks; what was released in spite of its verdict only warns."""
    if snapshot is None:
        return _result(
            check, asset, False, "there is no verdict: no run has ended yet, so nothing is released"
        )
    released = snapshot.released_at is not None
    passed = snapshot.verdict_passed and released
    words = snapshot.verdict_reason
    if not released and snapshot.verdict_passed and snapshot.counts.get("extracted") == 0:
        # nothing came in: no reason to block, and nothing to take the place of what is released
        passed = True
        words += "; what was released before stays"
    elif not released:
        words = f"held: {words}. Look at the quarantine, then run again, or release it: `loom release`"
    elif not passed and snapshot.released_by == RELEASED_BY_GATE:
        words += "; the records that passed are released all the same (on_batch_failure: load_passed)"
    elif not passed:
        words += f"; released by {snapshot.released_by}: {snapshot.why}"
    metadata: dict[str, Any] = {"snapshot": snapshot.id, "released": released}
    if snapshot.pass_rate is not None:
        metadata["pass_rate"] = snapshot.pass_rate
    if snapshot.threshold is not None:
        metadata["threshold"] = snapshot.threshold
    return _result(check, asset, passed, words, metadata, blocks=not released)


def evaluator_result(
    check: Check, asset: dg.AssetKey, snapshot: "Snapshot | None", share: float
) -> dg.AssetCheckResult:
    """Passes when at least ``share`` of the records scored reach the threshold. A score that could
    not be had is not one that reached it."""
    scores: Sequence[Mapping[str, Any]] = snapshot.outcome.get("scores", ()) if snapshot else ()
    found = next((s for s in scores if s["name"] == check.evaluator), None)
    if snapshot is None or found is None:
        return _result(check, asset, False, "not measured: the latest run has no scores of this evaluator")
    passed, failed, errors = found["passed"], found["failed"], found["errors"]
    total = passed + failed + errors
    if total == 0:
        came_in = snapshot.outcome.get("counts", {}).get("extracted", 0)
        words = "no record got as far as this evaluator" if came_in else "the batch was empty"
        return _result(check, asset, not came_in, words, {"records": 0}, blocks=False)
    words = f"{passed} of {total} records reached {found['threshold']:g}"
    words += f" ({passed / total:.1%}, wanted {share:.0%})"
    if errors:
        words += f"; {errors} could not be scored"
    metadata: dict[str, Any] = {
        "records": total,
        "passed": passed,
        "failed": failed,
        "errors": errors,
        "pass_rate": passed / total,
        "threshold": float(found["threshold"]),
        "histogram": dg.MetadataValue.md(histogram(found.get("histogram") or ())),
    }
    metadata |= {k: float(found[k]) for k in ("mean", "std", "min", "max") if found.get(k) is not None}
    return _result(check, asset, passed / total >= share, words, metadata, blocks=False)


def _result(
    check: Check,
    asset: dg.AssetKey,
    passed: bool,
    words: str,
    metadata: Mapping[str, Any] | None = None,
    *,
    blocks: bool = True,
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=check.name,
        passed=passed,
        description=words,
        metadata=metadata,
        severity=dg.AssetCheckSeverity.ERROR if check.blocking and blocks else dg.AssetCheckSeverity.WARN,
    )
