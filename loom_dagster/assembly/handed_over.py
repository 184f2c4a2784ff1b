"""What several processes did of the same suites, put together: recordings, what is not used, what was paid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loom_dagster.assembly.bench import Bench
from loom_dagster.errors import Misconfigured
from loom_dagster.prompt_tests.items import Item, Result
from loom_dagster.prompt_tests.recordings import Recording, read_line
from loom_dagster.prompt_tests.words import remarks_of
from loom_dagster.records import dollars

__all__ = ["handed_over", "settled", "unused_words"]

Told = Mapping[str, Any]


def handed_over(bench: Bench, done: Sequence[tuple[Item, Result]]) -> dict[str, Any]:
    """What one process did of a suite, as plain values."""
    recording = bench.answering.recording
    return {
        "path": str(recording.path),
        "shown": recording.shown,
        "replays": bench.replays,
        "items": [item.key for item in bench.items],
        "done": [item.key for item, result in done if result.answered],
        "recorded": [recording.entries[key].line() for key in sorted(recording.used)]
        if bench.records
        else [],
        "used": [key.hex() for key in sorted(recording.used)] if bench.replays else [],
        "paid": asdict(bench.answering.paid),
        "remarks": [*bench.answering.notes, *(remark for _, result in done for remark in remarks_of(result))],
    }


def settled(told: Sequence[Told], *, record: bool) -> list[str]:
    """What there is to say of them all; with ``record`` the recordings are written."""
    by_suite = defaultdict[str, list[Told]](list)
    for each in told:
        by_suite[each["path"]].append(each)
    lines = [line for suite in by_suite.values() for line in _of_suite(suite, record=record)]
    paid = [each["paid"] for each in told]
    calls, reused, cost = (sum(p[name] for p in paid) for name in ("calls", "reused", "cost"))
    if not all(each["replays"] for each in told):
        simulated = ", simulated" if any(p["simulated"] for p in paid) else ""
        lines.append(f"{calls:,} calls paid, {reused:,} reused, {dollars(cost)}{simulated}")
    return lines


def _of_suite(told: Sequence[Told], *, record: bool) -> list[str]:
    first = told[0]
    remarks = list(dict.fromkeys(remark for each in told for remark in each["remarks"]))
    whole = set(first["items"]) <= {key for each in told for key in each["done"]}
    try:
        recording = Recording.load(Path(first["path"]), first["shown"])
        if record:
            for line in (line for each in told for line in each["recorded"]):
                recording.keep(read_line(line))
            recording.write(whole=whole)
            return [*remarks, f"recorded in {recording.shown}: {recording.answers_used:,} answers"]
    except Misconfigured as error:
        return [*remarks, error.sentence()]
    if first["replays"] and whole:
        recording.used = {bytes.fromhex(key) for each in told for key in each["used"]}
        return [*remarks, *unused_words(recording)]
    return remarks


def unused_words(recording: Recording) -> list[str]:
    """Of what no case asked for."""
    unused = recording.unused
    if not unused:
        return []
    named = list(dict.fromkeys(f"`{each.of}`" for each in unused))
    some = ", ".join(named[:3]) + (", ..." if len(named) > 3 else "")
    many = len(unused) > 1
    what = f"{len(unused):,} answer{'s' if many else ''} that no case uses ({some})"
    return [f"{recording.shown}: {what}; the next --record drops {'them' if many else 'it'}"]
