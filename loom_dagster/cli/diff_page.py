"""What changed between two runs, as a page."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from loom_dagster.cli.figures import dollars, moment
from loom_dagster.cli.output import as_plain
from loom_dagster.cli.terminal import Style, Terminal

__all__ = ["show_diff"]

_LINES = 200  # of a text's diff


def show_diff(document: Mapping[str, Any], terminal: Terminal) -> None:
    """What was changed first, then what it did."""
    terminal.line(
        f"{document['pipeline']}: from run {document['first']['run']} to {document['second']['run']}", "bold"
    )
    for label, run in (("from", document["first"]), ("to", document["second"])):
        of = f", partition {run['partition']}" if run["partition"] else ""
        trial = ", a trial" if run["trial"] else ""
        terminal.line(f"  {label + ':':<5} {moment(run['started_at'])} ({run['status']}{of}{trial})")
    for words in document["not_kept"]:
        terminal.paragraph(words, first=f"  {terminal.sign('warn')} ", rest="     ")
    _prompt(document["prompt"], terminal)
    for context in document["contexts"]:
        terminal.line()
        terminal.line(
            f"Context {context['name']}: {context['before'] or 'none'} -> {context['after'] or 'none'}",
            "bold",
        )
        _lines(context["diff"], terminal)
    _settings(document["settings"], terminal)
    _counts(document, terminal)
    _scores(document, terminal)
    _records(document, terminal)


def _prompt(prompt: Mapping[str, Any], terminal: Terminal) -> None:
    terminal.line()
    if prompt["changed"] is None:
        terminal.line("Prompt: not known of both", "bold")
        return
    if not prompt["changed"]:
        terminal.line("Prompt: the same", "bold")
        return
    names = [
        f"{side['name']} ({side['version']})" if side else "not known"
        for side in (prompt["before"], prompt["after"])
    ]
    terminal.line(f"Prompt: {names[0]} -> {names[1]}", "bold")
    if prompt["diff"] is None:
        terminal.line("  its text is not kept of both")
    else:
        _lines(prompt["diff"], terminal)


def _lines(lines: Sequence[str], terminal: Terminal) -> None:
    colors: dict[str, Style] = {"+": "green", "-": "red", "@": "dim"}
    for line in lines[:_LINES]:
        terminal.line(f"  {line}", colors.get(line[:1]))
    if len(lines) > _LINES:
        terminal.line(f"  and {len(lines) - _LINES:,} lines more (--json has them all)")


def _settings(changes: Sequence[Mapping[str, Any]] | None, terminal: Terminal) -> None:
    terminal.line()
    if not changes:
        terminal.line(f"Settings: {'not known of both' if changes is None else 'the same'}", "bold")
        return
    terminal.line("Settings:", "bold")
    for change in changes:
        text = f"{_short(change['before'])} -> {_short(change['after'])}"
        terminal.paragraph(text, first=f"  {change['what']}: ", rest="    ")


def _counts(document: Mapping[str, Any], terminal: Terminal) -> None:
    rows = [
        (name, _number(pair["before"]), _number(pair["after"]), _change(pair))
        for name, pair in document["counts"].items()
        if pair["before"] or pair["after"]
    ]
    for stage, pair in document["cost"].items():
        before, after = pair["before"] or 0.0, pair["after"] or 0.0
        if before or after:
            rows.append((f"cost of {stage}", dollars(before), dollars(after), ""))
    if rows:
        terminal.line()
        terminal.line("Counts:", "bold")
        terminal.table(rows, head=("", "FROM", "TO", "CHANGE"), indent="  ")


def _scores(document: Mapping[str, Any], terminal: Terminal) -> None:
    if not document["scores"]:
        return
    found = document["records"].get("scores", {})
    rows = []
    for score in document["scores"]:
        before, after = (_mean(score[side]) for side in ("before", "after"))
        moved = found.get(score["name"], {})
        told = [f"{moved[way]:,}" if moved else "-" for way in ("better", "worse", "same")]
        rows.append((score["name"], before, after, *told))
    terminal.line()
    terminal.line("Scores:", "bold")
    terminal.table(rows, head=("", "FROM", "TO", "BETTER", "WORSE", "SAME"), indent="  ")


def _records(document: Mapping[str, Any], terminal: Terminal) -> None:
    records = document["records"]
    terminal.line()
    terminal.line("Records:", "bold")
    if "unknown" in records:
        terminal.paragraph(records["unknown"], first=f"  {terminal.sign('none')} ", rest="     ")
        return
    terminal.line(
        f"  {records['both']:,} in both runs, {records['only_first']:,} only in the first, {records['only_second']:,} only in the second"
    )
    terminal.line(
        f"  {records['newly_passed']:,} pass now and did not, {records['newly_failed']:,} passed and do not now"
    )
    terminal.line(f"  {records['outputs_changed']:,} that passed twice came out differently")
    for example in records["examples"]:
        terminal.paragraph(
            f"{_short(example['before'])} -> {_short(example['after'])}",
            first=f"    {example['record_id']}: ",
            rest="      ",
        )
    for moved in records["moved"]:
        terminal.line(f"    {moved['record_id']}: {moved['before']} -> {moved['after']}")
    first = next(iter([*records["examples"], *records["moved"]]), None)
    if first is not None:
        terminal.line()
        name, record = shlex.quote(document["pipeline"]), shlex.quote(first["record_id"])
        terminal.line(f"  loom lineage {name} --record {record} --run {document['second']['run']}")


def _mean(score: Mapping[str, Any] | None) -> str:
    return "-" if score is None or score["mean"] is None else f"{score['mean']:.3f}"


def _short(value: object) -> str:
    text = "none" if value is None else json.dumps(as_plain(value), ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:199]}…"


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _change(pair: Mapping[str, Any]) -> str:
    before, after = pair["before"], pair["after"]
    return "" if before is None or after is None or before == after else f"{after - before:+,}"
