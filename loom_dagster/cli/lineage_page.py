"""A pipeline's lineage, and a run's, as pages."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from loom_dagster.cli.figures import counted, dollars, moment, release_name, share
from loom_dagster.cli.terminal import Terminal

__all__ = ["show_pipeline", "show_run"]


def show_pipeline(document: Mapping[str, Any], terminal: Terminal) -> None:
    """What it is made of, what it reads and makes, and who reads that."""
    name, last = document["pipeline"], document["last_run"]
    terminal.line(f"Pipeline: {name}{release_name(document['version'])}", "bold")
    terminal.line(f"Last Run: {_last(last)}")
    terminal.line()
    terminal.line("Lineage:", "bold")
    prompt, model = document["prompt"], document["model"]
    terminal.line(f"  Prompt:  {prompt['file']}{_in_brackets(prompt.get('version'))}")
    for problem in prompt.get("problems", ()):
        terminal.paragraph(problem, first=f"    {terminal.sign('bad')} ", rest="       ")
    terminal.line(f"  Model:   {model['name'] or 'none is named'}{_in_brackets(model['version'])}")
    _list(terminal, "  Context:", [f"{c['file']}{_in_brackets(c['version'])}" for c in document["contexts"]])
    terminal.line()
    _list(terminal, "Inputs:", [place["uri"] for place in document["inputs"]], bold=True)
    terminal.line()
    _list(terminal, "Outputs:", [_output(place) for place in document["outputs"]], bold=True)
    terminal.line()
    _list(terminal, "Evaluators:", [_evaluator(e) for e in document["evaluators"]], bold=True)
    terminal.line()
    terminal.line("Dependencies:", "bold")
    for way in ("upstream", "downstream"):
        named = ", ".join(f"{n['pipeline']}{release_name(n['version'])}" for n in document[way])
        terminal.line(f"  {way.capitalize() + ':':<11} {named or 'None'}")
    if last is not None:
        terminal.line()
        terminal.line(f"  loom lineage {shlex.quote(name)} --run {last['run']}")


def _last(last: Mapping[str, Any] | None) -> str:
    if last is None:
        return "never"
    of = f", partition {last['partition']}" if last["partition"] else ""
    return f"{moment(last['finished_at'] or last['started_at'])} ({last['status']}, run {last['run']}{of})"


def _output(place: Mapping[str, Any]) -> str:
    return f"{place['uri']} ({place['mode'] if place['what'] == 'passed' else place['what']})"


def _evaluator(evaluator: Mapping[str, Any]) -> str:
    by = f"{evaluator['by']}, {evaluator['model']}" if evaluator["model"] else evaluator["by"]
    return f"{evaluator['name']} ({by}: {evaluator['type']} >= {evaluator['threshold']:g})"


def show_run(document: Mapping[str, Any], terminal: Terminal) -> None:
    """What it used, what came of it, and who let it through."""
    name = document["pipeline"]
    terminal.line(f"{name}{release_name(document['version'])}: run {document['run']}", "bold")
    for label, value in _facts(document):
        terminal.paragraph(value, first=f"  {label + ':':<12}", rest=" " * 14)
    terminal.line()
    terminal.line("Used:", "bold")
    prompt = document["prompt"]
    if prompt:
        terminal.line(
            f"  Prompt:  {prompt['name']}{_in_brackets(prompt['version'])}  {prompt['sha256'][:12]}"
        )
    for context in document["contexts"]:
        mark = (context["sha256"] or "")[:12]
        terminal.line(f"  Context: {context['name']}{_in_brackets(context['version'])}  {mark}")
    for model in document["models"]:
        settings = ", ".join(f"{k} {v}" for k, v in model.get("parameters", {}).items())
        text = f"{model['name']} as {model['role']}" + (f" ({settings})" if settings else "")
        terminal.paragraph(f"{text}  {model.get('hash', '')[:12]}", first="  Model:   ", rest=" " * 11)
    if document["texts"] != "kept":
        terminal.paragraph(document["texts"], first=f"  {terminal.sign('warn')} ", rest="     ")
    _scores(document, terminal)
    _snapshot(document, terminal)
    terminal.line()
    terminal.line(f"  loom lineage {shlex.quote(name)} --run {document['run']} --record ID")


def _facts(document: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    words = [document["status"], *(["a trial: nothing of it is loaded"] if document["trial"] else ())]
    yield "Status", "; ".join(words)
    if document["partition"]:
        yield "Partition", document["partition"]
    yield "Time", f"{moment(document['started_at'])} to {moment(document['finished_at'])}"
    if document["input"]:
        yield "Input", document["input"]["source"]
        yield "Output", f"{document['output']['destination']} ({document['output']['mode']})"
    counts = document["counts"]
    if counts:
        fates = ("passed", "quarantined", "deferred", "skipped", "fallbacks")
        told = ", ".join(f"{counts[k]:,} {k}" for k in fates if counts.get(k))
        yield "Records", f"{counts['extracted']:,} extracted" + (f": {told}" if told else "")
    if document["cost_usd"] is not None:
        by = ", ".join(f"{k} {dollars(v)}" for k, v in document["cost"].items() if v)
        free = " (simulated)" if document["simulated"] else ""
        calls = document["calls"]
        yield "Cost", f"{dollars(document['cost_usd'])}{free}" + (f" ({by})" if by else "")
        asked = f"{calls['calls'] or 0:,} asked, {calls['reused'] or 0:,} from the store"
        yield (
            "Calls",
            f"{asked}; {calls['input_tokens'] or 0:,} tokens in, {calls['output_tokens'] or 0:,} out",
        )
    if document["stopped_by"]:
        yield "Stopped by", document["stopped_by"]


def _scores(document: Mapping[str, Any], terminal: Terminal) -> None:
    if not document["evaluators"]:
        return
    terminal.line()
    terminal.line("Evaluators:", "bold")
    rows = []
    for e in document["evaluators"]:
        mean = "-" if e["mean"] is None else f"{e['mean']:.2f} (±{e['std'] or 0:.2f})"
        total = e["passed"] + e["failed"] + e["errors"]
        judge = e["judge"] or "local"
        rows.append(
            (
                e["name"],
                e["type"],
                judge,
                f">= {e['threshold']:g}",
                mean,
                share(e["passed"], total),
                f"{e['errors']:,}",
            )
        )
    head = ("NAME", "TYPE", "JUDGE", "THRESHOLD", "MEAN", "PASSED", "NO SCORE")
    terminal.table(rows, head=head, indent="  ")


def _snapshot(document: Mapping[str, Any], terminal: Terminal) -> None:
    snapshot = document["snapshot"]
    terminal.line()
    if snapshot is None:
        terminal.line(f"{terminal.sign('none')} No snapshot")
        return
    terminal.line("Snapshot:", "bold")
    gone = (
        f"removed by `loom clean`, {moment(snapshot['cleaned_at'])}"
        if snapshot["cleaned_at"]
        else "its files are gone"
    )
    files = "" if snapshot["files"] == "kept" else f" ({terminal.signs['warn']} {gone})"
    terminal.line(f"  Files:    {snapshot['folder']}{files}")
    verdict = snapshot["verdict"]
    sign = terminal.sign("good" if verdict["passed"] else "bad")
    terminal.paragraph(verdict["reason"], first=f"  Verdict:  {sign} ", rest=" " * 15)
    if snapshot["released_at"] is None:
        terminal.line("  Released: no")
    else:
        by = snapshot["released_by"]
        why = f": {snapshot['why']}" if by != "gate" and snapshot["why"] else ""
        terminal.line(f"  Released: {moment(snapshot['released_at'])} by {by}{why}")
    terminal.line(f"  Loaded:   {moment(snapshot['loaded_at']) if snapshot['loaded_at'] else 'no'}")
    if snapshot["watermark"] and snapshot["watermark"].get("cursor") is not None:
        terminal.line(f"  Reached:  {snapshot['watermark']['cursor']}")
    if snapshot["watermark"] and snapshot["watermark"].get("files"):
        terminal.line(f"  Reached:  {counted(len(snapshot['watermark']['files']), 'file')}")


def _list(terminal: Terminal, title: str, entries: list[str], *, bold: bool = False) -> None:
    if not entries:
        terminal.line(f"{title} None", "bold" if bold else None)
        return
    terminal.line(title, "bold" if bold else None)
    indent = " " * (len(title) - len(title.lstrip()) + 2)
    for entry in entries:
        terminal.paragraph(entry, first=f"{indent}- ", rest=f"{indent}  ")


def _in_brackets(version: str | None) -> str:
    return f" ({version})" if version else ""
