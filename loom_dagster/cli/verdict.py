"""What became of a run in one sentence."""

from __future__ import annotations

from loom_dagster.cli.figures import counted, dollars
from loom_dagster.cli.terminal import Sign
from loom_dagster.pipeline.outcome import Outcome, Waiting

__all__ = ["verdict"]


def verdict(outcome: Outcome) -> tuple[Sign, str]:
    """The end of the story in one sentence, worst thing first."""
    return _broken_off(outcome) or _turned_down(outcome) or _completed(outcome)


def _broken_off(outcome: Outcome) -> tuple[Sign, str] | None:
    counts = outcome.counts
    if not counts.conserved:
        gone = counts.extracted - counts.passed - counts.quarantined - counts.deferred
        return (
            "bad",
            f"Records do not add up, {gone:+,} unaccounted for. This is a bug in loom; nothing was loaded",
        )
    if outcome.status == "interrupted":
        left = f"; {counted(counts.deferred, 'record')} deferred" if counts.deferred else ""
        return "warn", f"Interrupted{left}. The run can be continued: give the same command again"
    if outcome.stopped_by:
        left = f"; {counted(counts.deferred, 'record')} deferred" if outcome.stopped_kind == "budget" else ""
        return "bad", f"Stopped: {outcome.stopped_by}{left}"
    if outcome.status == "failed":
        return "bad", f"Failed: {outcome.verdict.reason}"
    if outcome.waits:
        return "none", waiting_for(outcome)
    if outcome.status == "deferred":
        why = outcome.verdict.reason or "the provider was down"
        return "warn", f"{counted(counts.deferred, 'record')} deferred: {why}. The next run takes them up"
    return None


def waiting_for(outcome: Outcome) -> str:
    """What a run waits for, and how much is at stake."""
    batches, number = outcome.batches, sum(batch.requests for batch in outcome.batches)
    states = ", ".join(sorted({_state(batch) for batch in batches}))
    one = len(batches) == 1
    named = f"batch {batches[0].batch}" if one else f"{len(batches)} batches"
    done = sum(batch.done + batch.failed for batch in batches)
    most = f", at most {dollars(reserved)}" if (reserved := sum(b.reserved for b in batches)) else ""
    provider = batches[0].provider.replace("openai", "OpenAI").replace("anthropic", "Anthropic")
    return (
        f"Waiting for {named} at {provider} ({states}): {counted(number, 'question')}, {done:,} done{most}. "
        "Nothing is asked twice"
    )


def _state(batch: Waiting) -> str:
    said = (batch.provider_state or batch.state).replace("_", " ")
    return f"{said}, cancelled" if batch.cancelled and "cancel" not in said else said


def _turned_down(outcome: Outcome) -> tuple[Sign, str] | None:
    if outcome.nothing_passed:
        return "bad", f"Nothing passed: all {outcome.counts.extracted:,} that came in are in quarantine"
    if outcome.status == "held":
        return "bad", f"Held, and not loaded: {outcome.verdict.reason}"
    if not outcome.verdict.passed:
        return "bad", f"The gate failed: {outcome.verdict.reason}"
    alarms = [m.name for m in outcome.monitors if not m.passed and m.severity == "error"]
    if alarms:
        loaded = "loaded all the same" if outcome.load is not None and outcome.load.loaded else "released"
        return "bad", f"A monitor failed: {', '.join(alarms)}. The batch is {loaded}"
    return None


def _completed(outcome: Outcome) -> tuple[Sign, str]:
    if outcome.counts.extracted == 0:
        return "good", "Pipeline completed: the source was empty, there was nothing to do"
    if outcome.trial:
        return "good", "Trial completed; nothing was loaded or published (--load does that)"
    if outcome.load is not None and not outcome.load.loaded:
        return "warn", f"Pipeline completed, not loaded: {outcome.load.reason}"
    return "good", "Pipeline completed successfully"
