"""What has to hold when everything has come to rest: every record once, every answer paid once, every alert told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.soak.channel import Received
from benchmarks.soak.project import Record

__all__ = ["Line", "alerts", "paid", "processed", "show"]

_BEFORE_A_KILL, _AFTER_A_KILL = 5.0, 1.0
"""Seconds: an answer that came shortly before a kill may not have been kept; the machine is slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table; ``wrong``: what does not hold, shown one by one; nothing if all is well."""

    what: str
    count: int
    wrong: Sequence[str] = ()


def processed(
    pipeline: str, came: Mapping[str, Record], rows: Iterable[tuple[str, str]], quarantined: Iterable[str]
) -> list[Line]:
    """``rows``: (id, answer) in the destination; ``quarantined``: ids that are there and not resolved."""
    loaded, held_back = list(rows), Counter(quarantined)
    times = Counter(identity for identity, _ in loaded)
    good = {identity for identity, record in came.items() if record.good}
    bad = came.keys() - good
    twice = [identity for identity, count in times.items() if count > 1]
    false = [f"{i}: {a}, not {came[i].answer}" for i, a in loaded if i in came and a != came[i].answer]
    return [
        Line(what=f"{pipeline}: records that came", count=len(came)),
        Line(what=f"{pipeline}: in the destination", count=len(loaded), wrong=sorted(good - times.keys())),
        Line(what=f"{pipeline}: in it more than once", count=len(twice), wrong=twice),
        Line(what=f"{pipeline}: with a wrong answer", count=len(false), wrong=false),
        Line(
            what=f"{pipeline}: in it and should not be",
            count=len(times.keys() - good),
            wrong=sorted(times.keys() - good),
        ),
        Line(what=f"{pipeline}: in quarantine", count=len(held_back), wrong=sorted(bad ^ held_back.keys())),
    ]


def paid(
    stats: Mapping[str, Any], repeats: Sequence[float], kills: Sequence[float], in_flight: int
) -> list[Line]:
    """``repeats``: when each answer had been delivered that was paid again; ``kills``: when, by the same clock.
    ``in_flight``: of all pipelines together."""
    unexplained = [
        f"delivered {min((abs(kill - at), kill - at) for kill in kills)[1] if kills else 0:.1f} s before the nearest kill"
        for at in repeats
        if not any(-_AFTER_A_KILL <= kill - at <= _BEFORE_A_KILL for kill in kills)
    ]
    allowed = len(kills) * in_flight
    if len(repeats) > allowed:
        unexplained.append(f"{len(repeats)} is more than were in flight at {len(kills)} kills: {allowed}")
    return [
        Line(what="answers paid", count=int(stats["paid"])),
        Line(what="paid again, in flight at a kill", count=len(repeats), wrong=unexplained),
        Line(
            what="texts the model did not know",
            count=int(stats["unknown"]),
            wrong=["?"] * bool(stats["unknown"]),
        ),
    ]


def alerts(
    told: Sequence[Mapping[str, Any]],
    held: Iterable[tuple[str, str]],
    received: Sequence[Received],
    kills: Sequence[float],
    channel: str,
) -> list[Line]:
    """``told``: the ledger's alerts with their deliveries; ``held``: (pipeline, run) of every batch that was held;
    ``kills``: time.time()."""
    known = {alert["alert_id"]: alert for alert in told}
    gates = {
        (a["pipeline"], a["run_id"])
        for a in told
        if (a["check_name"], a["event"]) == ("quality_gate", "failed")
    }
    answered = Counter(message.id for message in received if message.answered)
    waiting = [
        f"{alert['alert_id']} {delivery['state']}: {delivery['last_error']}"
        for alert in told
        for delivery in alert["deliveries"]
        if delivery["channel"] == channel and delivery["state"] != "delivered"
    ]
    lost = [f"{i} {alert['pipeline']} {alert['check_name']}" for i, alert in known.items() if not answered[i]]
    again, unexplained = 0, []
    last: dict[str, Received] = {}
    for message in sorted(received, key=lambda message: message.at):
        before = last.get(message.id)
        if before is not None:
            again += 1
            if before.said["incident"] != message.said["incident"]:
                unexplained.append(f"{message.id}: another dedup key")
            if before.answered and not any(0 <= kill - before.at <= _BEFORE_A_KILL for kill in kills):
                unexplained.append(f"{message.id}: had been answered, and nothing was killed then")
        last[message.id] = message
    return [
        Line(what="batches held, each told of", count=len(set(held)), wrong=[" ".join(h) for h in set(held) - gates]),
        Line(what="alerts", count=len(known), wrong=waiting),
        Line(what="alerts that never arrived", count=len(lost), wrong=lost),
        Line(what="messages received", count=len(received), wrong=sorted({m.id for m in received} - known.keys())),
        Line(what="of them sent again, same dedup key", count=again, wrong=unexplained),
        Line(what="with a wrong signature", count=sum(not m.signed for m in received),
             wrong=[m.id for m in received if not m.signed]),
    ]  # fmt: skip


def show(lines: Sequence[Line]) -> str:
    """As Markdown, with what does not hold below."""
    width = max(len(line.what) for line in lines)
    text = [f"| {'':{width}} |        |       |", f"|{'-' * (width + 2)}|-------:|-------|"]
    text += [
        f"| {line.what:{width}} | {line.count:6,} | {'WRONG' if line.wrong else 'holds'} |" for line in lines
    ]
    for line in lines:
        if line.wrong:
            text += [
                "",
                f"{line.what}: {len(line.wrong)} do not hold",
                *(f"  {word}" for word in list(line.wrong)[:20]),
            ]
    return "\n".join(text)
