"""How near a tool comes to the limit: span, CPU, memory, start; with a judge, under faults, and once more from its cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.runs import CRITERIA, Result, serve
from benchmarks.setting import Row, Setting, measured, run
from benchmarks.tables import Table

__all__ = ["faults", "judge", "plain", "rerun"]

COLUMNS = {
    "ratio": ("span / ideal", ".2f"),
    "cpu": ("CPU ms a record", ".2f"),
    "cpu_all": ("with start-up", ".2f"),
    "cpu_start": ("start-up, CPU s", ".2f"),
    "first": ("start to first request, s", ".2f"),
    "peak": ("peak MB", ".0f"),
    "lost": ("lost", ".0f"),
    "double": ("double", ".0f"),
    "wrong": ("wrong", ".0f"),
    "requests": ("requests", ".0f"),
    "paid": ("paid", ".0f"),
    "repeated": ("paid twice", ".0f"),
    "server": ("server, CPU ms a request", ".2f"),
    "runs": ("runs", ".0f"),
}


def plain(setting: Setting) -> Table:
    return side_by_side(setting, "One call a record", "")


def judge(setting: Setting) -> Table:
    text = "Each answer is judged by a second call: by ours with an Arbiter judge, by the script with a call of its own."
    return side_by_side(setting, "With a judge: two calls a record", text, criteria=CRITERIA)


def faults(setting: Setting) -> Table:
    text = "Of all requests 2.5% are answered with 500 and 2.5% with 429, drawn anew for each attempt."
    return side_by_side(setting, "5% faults", text, faults={"500": 0.025, "429": 0.025})


def side_by_side(setting: Setting, title: str, text: str, *, criteria: str = "", **options: Any) -> Table:
    calls, few = 2 if criteria else 1, setting.few
    ideal = calls * setting.ideal
    starts: dict[str, Result] = {}

    def measure(contestant: str, folder: Path) -> Row:
        def one(records: int) -> Result:
            with serve(records, latency=setting.latency, **options) as server:
                return run(
                    setting, contestant, folder / str(records), server, records=records, criteria=criteria
                ).wait(server)

        if contestant not in starts:
            starts[contestant] = one(few)
        start, full = starts[contestant], one(setting.records)
        stats = full.stats
        return {
            "ratio": full.span / ideal,
            "cpu": (full.cpu - start.cpu) / (setting.records - few) * 1000,
            "cpu_all": full.cpu / setting.records * 1000,
            "cpu_start": start.cpu,
            "first": stats["first_request"] - full.started,
            "peak": full.peak_mb,
            "lost": full.lost,
            "double": full.double,
            "wrong": full.wrong,
            "requests": stats["requests"],
            "paid": stats["paid"],
            "repeated": stats["repeated"],
            "server": stats["cpu_seconds"] / stats["requests"] * 1000,
        }

    rows = measured(setting, measure)
    said = f"{setting.records:,} records, {setting.latency * 1000:.0f} ms latency, {setting.in_flight} in flight: ideal {ideal:.2f} s. {text}"
    return Table(title=title, text=said.strip(), columns=COLUMNS, rows=rows)


def rerun(setting: Setting) -> Table:
    """The same job once more, with whatever the tool kept; the first time the server answers at once."""
    few = setting.few
    starts: dict[str, Result] = {}

    def measure(contestant: str, folder: Path) -> Row:
        def again(records: int) -> Result:
            with serve(records) as server:
                place = folder / str(records)
                run(setting, contestant, place, server, records=records).wait(server)
                server.change(reset=True)
                return run(setting, contestant, place, server, records=records).wait(server)

        if contestant not in starts:
            starts[contestant] = again(few)
        start, full = starts[contestant], again(setting.records)
        row: Row = {
            "whole": setting.records / full.wall,
            "cpu": (full.cpu - start.cpu) / (setting.records - few) * 1000,
            "paid": full.stats["paid"],
            "lost": full.lost,
            "double": full.double,
            "wrong": full.wrong,
        }
        if full.wall > start.wall:  # with few records the noise of starting may be more than the rest
            row["more"] = (setting.records - few) / (full.wall - start.wall)
        if own := own_seconds(full):
            row["own"] = setting.records / own
        return row

    return Table(
        title="Once more, everything known",
        text=f"{setting.records:,} records, run for the second time; a tool without a cache pays for all of them again.",
        columns={
            "whole": ("records/s, the whole command", ",.0f"),
            "more": ("without start-up", ",.0f"),
            "own": ("the stream, by its own clock", ",.0f"),
            "cpu": ("CPU ms a record", ".3f"),
            "paid": ("paid again", ".0f"),
            "lost": ("lost", ".0f"),
            "double": ("double", ".0f"),
            "wrong": ("wrong", ".0f"),
            "runs": ("runs", ".0f"),
        },
        rows=measured(setting, measure),
    )


def own_seconds(result: Result) -> float | None:
    """The seconds that ours says its records took; None for others."""
    try:
        return float(json.loads((result.folder / "stdout").read_text())["runs"][0]["seconds"]["records"])
    except (ValueError, LookupError, TypeError):
        return None
