"""What became of a run, in words: the page that ``loom run`` ends with."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from loom_dagster.cli.figures import counted, dollars, release_name, seconds, share
from loom_dagster.cli.terminal import Sign, Terminal
from loom_dagster.cli.verdict import verdict
from loom_dagster.pipeline.outcome import BudgetUse, Outcome

__all__ = ["summarise"]

_REASONS_SHOWN = 5
_EXAMPLES_SHOWN = 3
_NOT_LOADED = {
    "held": "the batch is held",
    "deferred": "records are deferred",
    "interrupted": "the run is not at its end",
}


def summarise(outcome: Outcome, terminal: Terminal) -> None:
    """Print the whole page for one pipeline; one that did not run has no more than a verdict."""
    of_it = f", partition {outcome.partition}" if outcome.partition else ""
    terminal.line(f"Pipeline: {outcome.pipeline}{release_name(outcome.version)}{of_it}", "bold")
    if outcome.run_id:
        for part in (_run, _stages, _results, _scores, _monitors, _cost, _performance, _quarantine):
            part(outcome, terminal)
    for note in outcome.notes:
        terminal.paragraph(note, first=f"{terminal.sign('warn')} ", rest="   ")
    if outcome.notes:
        terminal.line()
    sign, sentence = verdict(outcome)
    terminal.paragraph(sentence, first=f"{terminal.sign(sign)} ", rest="   ")
    for step in _next_steps(outcome):
        terminal.line(f"   {step}")


def _run(outcome: Outcome, terminal: Terminal) -> None:
    what = [outcome.run_id]
    if outcome.resumed:
        what.append("continues one that did not end")
    if outcome.trial:
        what.append("trial")
    terminal.line(f"Run:      {', '.join(what)}")
    if outcome.simulated:
        model = _text(outcome.versions.get("model")) or "an offline model"
        terminal.line(f"          simulated answers: {model}", "yellow")
    terminal.line()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _stages(outcome: Outcome, terminal: Terminal) -> None:
    counts = outcome.counts
    failed = _by_stage(outcome.reasons)
    transformed = max(
        counts.extracted - counts.deferred - failed.get("extract", 0) - failed.get("transform", 0), 0
    )
    extract = counted(counts.extracted, "record")
    if counts.source_errors:
        extract += f", {counts.source_errors:,} unusable"
    transform = f"{transformed:,} processed"
    if failed.get("transform"):
        transform += f", {failed['transform']:,} failed"
    judged = counts.passed + failed.get("evaluate", 0)
    evaluate = f"{counts.passed:,} passed, {judged - counts.passed:,} rejected"
    broken = outcome.status in ("failed", "interrupted", "deferred")
    states: Sequence[tuple[str, Sign, str]] = (
        ("extract", "bad" if outcome.status == "failed" else "good", extract),
        ("transform", "warn" if broken else "good", transform),
        ("evaluate", _gate_sign(outcome), evaluate),
    )
    for stage, sign, text in states:
        took = f" ({seconds(outcome.seconds[stage])})" if stage in outcome.seconds else ""
        terminal.line(f"{stage.capitalize() + ':':<10} {terminal.sign(sign)} {text}{took}")
    sign, text = _loaded(outcome)
    terminal.paragraph(text, first=f"Load:      {terminal.sign(sign)} ", rest=" " * 14)
    terminal.line()


def _gate_sign(outcome: Outcome) -> Sign:
    if outcome.status in ("interrupted", "deferred"):
        return "warn"
    return "good" if outcome.verdict.passed and not outcome.nothing_passed else "bad"


def _loaded(outcome: Outcome) -> tuple[Sign, str]:
    load = outcome.load
    if load is None:
        reason = "this was a trial" if outcome.trial else _NOT_LOADED.get(outcome.status)
        reason = "the answers come with a batch" if outcome.waits else reason
        return "none", f"not loaded: {reason}" if reason else "not loaded"
    if not load.loaded:
        return "none", f"not loaded: {load.reason}"
    text = f"{load.rows:,} loaded into {load.destination}, {load.mode} ({seconds(load.seconds)})"
    if load.refused:
        return "warn", f"{text}; {load.refused:,} refused by it, in quarantine: {load.reason}"
    return "good", text


def _results(outcome: Outcome, terminal: Terminal) -> None:
    counts = outcome.counts
    rows = [
        ("Processed:", f"{counts.extracted:,}"),
        ("Validated:", f"{counts.passed:,} ({share(counts.passed, counts.extracted)})"),
        ("Rejected:", f"{counts.quarantined:,} ({share(counts.quarantined, counts.extracted)})"),
    ]
    if counts.skipped:
        rows.append(("Skipped:", f"{counts.skipped:,} of the rejected"))
    if counts.fallbacks:
        rows.append(("Fallbacks:", f"{counts.fallbacks:,} of the validated have fixed values"))
    if counts.deferred:
        rows.append(("Deferred:", f"{counts.deferred:,} ({share(counts.deferred, counts.extracted)})"))
    terminal.line("Results:", "bold")
    terminal.table(rows, indent="  ")
    terminal.line()


def _scores(outcome: Outcome, terminal: Terminal) -> None:
    if not outcome.scores:
        return
    terminal.line("Evaluation Scores:", "bold")
    rows = []
    for score in outcome.scores:
        mean = "-" if score.mean is None else f"{score.mean:.2f} (±{score.std or 0.0:.2f})"
        if not terminal.ellipsis:
            mean = mean.replace("±", "+/-")
        remarks = []
        if score.failed:
            remarks.append(f"{score.failed:,} below {score.threshold:.2f}")
        if score.errors:
            remarks.append(f"{score.errors:,} without a score")
        rows.append((f"{score.name}:", mean, ", ".join(remarks)))
    terminal.table(rows, indent="  ")
    terminal.line()


def _monitors(outcome: Outcome, terminal: Terminal) -> None:
    """Each with its value against its threshold; those that failed first."""
    if not outcome.monitors:
        return
    terminal.line("Monitors:", "bold")
    for monitor in sorted(outcome.monitors, key=lambda m: m.passed):
        sign: Sign = "good" if monitor.passed else "bad" if monitor.severity == "error" else "warn"
        terminal.paragraph(
            f"{monitor.name}: {monitor.reason}", first=f"  {terminal.sign(sign)} ", rest="     "
        )
    terminal.line()


def _cost(outcome: Outcome, terminal: Terminal) -> None:
    spending = outcome.spending
    unknown = f" and {counted(spending.unpriced, 'call')} of unknown price" if spending.unpriced else ""
    terminal.line(f"Cost: {dollars(spending.total)}{unknown}", "bold")
    rows = [
        (f"{stage.capitalize()}:", dollars(spending.cost.get(stage, 0.0)))
        for stage in ("transform", "evaluate")
    ]
    tokens = f"{spending.input_tokens:,} tokens in, {spending.output_tokens:,} out"
    rows.append(("Calls:", f"{spending.calls:,} ({tokens})"))
    rows.extend((f"Budget, {budget.name}:", _used(budget)) for budget in spending.budgets)
    if spending.reused:
        rows.append(
            ("Saved:", f"by the answer store, {counted(spending.reused, 'answer')} not paid for again")
        )
    terminal.table(rows, indent="  ")
    terminal.line()


def _used(budget: BudgetUse) -> str:
    text = f"{dollars(budget.used)} of {dollars(budget.limit)}"
    if budget.unconfirmed:
        text += f", {dollars(budget.unconfirmed)} of it unconfirmed (calls whose end is not known)"
    if budget.ordered:
        text += f", {dollars(budget.ordered)} of it reserved for batches"
    return text


def _performance(outcome: Outcome, terminal: Terminal) -> None:
    spending = outcome.spending
    total = outcome.seconds.get("total", max(outcome.seconds.values(), default=None))
    rows = [("Total Duration:", seconds(total))]
    for name, value in (("p50", spending.p50), ("p95", spending.p95), ("p99", spending.p99)):
        if value is not None:
            rows.append((f"{name} Latency:", seconds(value)))
    terminal.line("Performance:", "bold")
    terminal.table(rows, indent="  ")
    terminal.line()


def _quarantine(outcome: Outcome, terminal: Terminal) -> None:
    if not outcome.reasons:
        return
    ranked = sorted(outcome.reasons.items(), key=lambda item: (-item[1], item[0]))
    rows = []
    for reason, number in ranked[:_REASONS_SHOWN]:
        ids = _examples(reason, outcome.quarantine_sample)[:_EXAMPLES_SHOWN]
        rows.append((f"{number:,}", reason, f"e.g. {', '.join(ids)}" if ids else ""))
    terminal.line("Quarantine:", "bold")
    terminal.table(
        [(" " * (max(len(r[0]) for r in rows) - len(r[0])) + r[0], *r[1:]) for r in rows], indent="  "
    )
    if len(ranked) > _REASONS_SHOWN:
        rest = sum(number for _, number in ranked[_REASONS_SHOWN:])
        terminal.line(f"  and {rest:,} more for {counted(len(ranked) - _REASONS_SHOWN, 'other reason')}")
    terminal.line()


def _by_stage(reasons: Mapping[str, int]) -> dict[str, int]:
    """Counts by stage; a reason reads ``stage: what``."""
    sums: dict[str, int] = {}
    for reason, number in reasons.items():
        stage = reason.partition(":")[0]
        sums[stage] = sums.get(stage, 0) + number
    return sums


def _examples(reason: str, sample: Sequence[Mapping[str, object]]) -> list[str]:
    """Ids of sampled records that are counted under ``reason``: ``stage: kind``, or the failed evaluators."""
    stage, _, label = reason.partition(": ")
    failed = [name.removesuffix(" (no score)") for name in label.split(", ")]
    return [
        str(entry["record_id"])
        for entry in sample
        if entry.get("stage") == stage
        and (entry.get("kind") == label or all(name in str(entry.get("reason")) for name in failed))
    ]


def _next_steps(outcome: Outcome) -> list[str]:
    name = shlex.quote(outcome.pipeline)
    steps = []
    if outcome.waits:
        part = f" --partition {shlex.quote(outcome.partition)}" if outcome.partition else ""
        steps += [f"loom run {name}{part}          looks, and goes on when it has ended"]
        steps += [f"loom run {name}{part} --wait   waits for it", "loom batches"]
    if outcome.counts.quarantined and not outcome.trial:
        steps.append(f"loom quarantine list {name}")
    if outcome.status == "held" and not outcome.trial:
        part = f" --partition {shlex.quote(outcome.partition)}" if outcome.partition else ""
        steps.append(f'loom release {name}{part} --why "..."')
    if outcome.transformed_path:
        steps.append(f"passed:     {_near(outcome.transformed_path)}")
    if outcome.quarantine_path and outcome.counts.quarantined:
        steps.append(f"quarantine: {_near(outcome.quarantine_path)}")
    return steps


def _near(path: str) -> str:
    """``path`` as it is said from here, where it lies below."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
