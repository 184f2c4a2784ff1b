"""The story of one record as a page: source, prompt, answers, scores, verdict, destination."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from loom_dagster.cli.figures import dollars, moment, seconds
from loom_dagster.cli.output import as_plain
from loom_dagster.cli.terminal import Terminal

__all__ = ["show_record"]

_SAYS = {
    "passed": ("good", "passed"),
    "refused": ("bad", "passed, and refused by the destination"),
    "quarantined": ("bad", "quarantined"),
    "skipped": ("warn", "skipped"),
    "rejected": ("bad", "rejected when it was read"),
    "deferred": ("warn", "deferred: the next run takes it up"),
}


def show_record(document: Mapping[str, Any], terminal: Terminal) -> None:
    """In the order in which it happened."""
    sign, word = _SAYS[document["state"]]
    terminal.line(f"{document['pipeline']}: {document['record_id']}", "bold")
    terminal.line(f"  {terminal.sign(sign)} {word}")  # type: ignore[arg-type]
    of = f", partition {document['partition']}" if document["partition"] else ""
    made = (
        "" if document["made_by_run"] == document["run"] else f" (settled in run {document['made_by_run']})"
    )
    terminal.line(f"  run {document['run']}{of}{made}")
    if document.get("files") == "gone":
        terminal.paragraph(
            "the files of its snapshot are gone; this is what the ledger keeps",
            first=f"  {terminal.sign('warn')} ",
            rest="     ",
        )
    else:
        _source(document, terminal)
        _prompt(document["prompt"], terminal)
        _answers(document, terminal)
        _scores(document["scores"], terminal)
    _verdict(document, terminal)
    if document.get("output"):
        _columns("Output:", document["output"], terminal)
    _destination(document.get("destination"), terminal)
    _elsewhere(document, terminal)


def _source(document: Mapping[str, Any], terminal: Terminal) -> None:
    source = document["source"]
    uri = f" {source['uri']}" if source["uri"] else ""
    if source["columns"] is None:
        terminal.line()
        terminal.line(f"Source:{uri}", "bold")
        terminal.line("  its row is not kept")
    else:
        _columns(f"Source:{uri}", source["columns"], terminal)
    for parent in document["parents"]:
        name = _word(parent["pipeline"])
        if parent["record_id"] is None:
            terminal.line(f"  made by pipeline {parent['pipeline']}: loom lineage {name}")
        else:
            terminal.line(f"  made by: loom lineage {name} --record {_word(parent['record_id'])}")


def _prompt(prompt: Mapping[str, Any], terminal: Terminal) -> None:
    terminal.line()
    contexts = "".join(f", {n} ({v})" for n, v in prompt["contexts"].items())
    terminal.line(f"Prompt: {prompt['name']} ({prompt['version']}){contexts}", "bold")
    words = "verified: it is the question that was asked" if prompt["verified"] else "not verified"
    why = prompt["why"]
    text = (
        f"{words}, because {why}" if why and not prompt["verified"] else f"{words}; {why}" if why else words
    )
    terminal.paragraph(
        text, first=f"  {terminal.sign('good' if prompt['verified'] else 'none')} ", rest="     "
    )
    for message in prompt["messages"] or ():
        terminal.line(f"  [{message['role']}]", "dim")
        for line in message["content"].split("\n"):
            terminal.line(f"    {line}")


def _answers(document: Mapping[str, Any], terminal: Terminal) -> None:
    answers = document["answers"]
    if not answers:
        return
    terminal.line()
    cost = "" if document["cost_usd"] is None else f", {dollars(document['cost_usd'])}"
    terminal.line(f"Answers: {len(answers)}{cost}", "bold")
    for answer in answers:
        if answer["state"] == "gone":
            terminal.line(f"  {terminal.sign('none')} {answer['key']}: not in the answer store any more")
            continue
        sample = f", sample {answer['sample']}" if answer["sample"] else ""
        price = "unknown price" if answer["cost_usd"] is None else dollars(answer["cost_usd"])
        terminal.paragraph(
            f"{answer['purpose']}{sample}: {answer['model']}{' (simulated)' if answer['simulated'] else ''}, "
            f"{answer['input_tokens']:,} tokens in, {answer['output_tokens']:,} out, {price}, "
            f"{seconds(answer['latency_s'])}, {answer['finish']}, {moment(answer['stored_at'])}",
            first="  ",
            rest="    ",
        )
        terminal.line(f"    key {answer['key'][:16]}{_whose(answer)}", "dim")
        for line in answer["text"].split("\n"):
            terminal.line(f"    {line}")


def _whose(answer: Mapping[str, Any]) -> str:
    shared = f", asked for record {answer['asked_for']} first" if answer["asked_for"] else ""
    return shared + (", answered anew since this run" if answer["state"] == "replaced" else "")


def _scores(scores: Sequence[Mapping[str, Any]], terminal: Terminal) -> None:
    if not scores:
        return
    terminal.line()
    terminal.line("Scores:", "bold")
    for score in scores:
        value, threshold = score["value"], score["threshold"]
        relation = ">=" if score["passed"] else "<"
        limit = "" if threshold is None else f" {relation} {threshold:.2f}"
        said = "no score" if value is None else f"{value:.2f}{limit}"
        why = score.get("error") or score.get("explanation")
        unjudged = value is None and not score.get("error")  # as the value of a fallback is
        sign = terminal.sign("none" if unjudged else "good" if score["passed"] else "bad")
        terminal.paragraph(
            f"{score['name']}: {said}" + (f". {why}" if why else ""), first=f"  {sign} ", rest="     "
        )


def _verdict(document: Mapping[str, Any], terminal: Terminal) -> None:
    verdict = document["verdict"]
    terminal.line()
    if verdict["passed"]:
        fallback = f", by the fallback {verdict['fallback']}" if verdict.get("fallback") else ""
        terminal.line(f"Verdict: passed{fallback}", "bold")
        return
    at = f" at {verdict['stage']}" if verdict.get("stage") else ""
    kind = f" ({verdict['kind']})" if verdict.get("kind") else ""
    terminal.line(f"Verdict: {document['state']}{at}{kind}", "bold")
    terminal.paragraph(verdict["reason"], first="  ", rest="  ")
    if verdict.get("resolved_at"):
        terminal.paragraph(
            f"resolved {moment(verdict['resolved_at'])} by {verdict['resolved_by']}: {verdict['resolution']}",
            first="  ",
            rest="    ",
        )


def _destination(place: Mapping[str, Any] | None, terminal: Terminal) -> None:
    if place is None:
        return
    _columns(
        f"Destination: {place['uri'] or ''} ({place['mode'] or 'mode not known'})", place["columns"], terminal
    )
    if place["refused"]:
        terminal.paragraph(place["refused"], first=f"  {terminal.sign('bad')} refused: ", rest="     ")
    elif place["loaded"]:
        terminal.line(f"  {terminal.sign('good')} loaded {moment(place['loaded_at'])}")
    elif place["released_at"] is None:
        terminal.line(f"  {terminal.sign('none')} not loaded: its batch is not released")
    else:
        terminal.line(f"  {terminal.sign('none')} not loaded yet; released by {place['released_by']}")


def _elsewhere(document: Mapping[str, Any], terminal: Terminal) -> None:
    also = document.get("also_in") or ()
    if not also:
        return
    terminal.line()
    terminal.line("Also in:", "bold")
    name = _word(document["pipeline"])
    for each in also:
        of = f" (partition {each['partition']})" if each["partition"] else ""
        record = _word(document["record_id"])
        terminal.line(f"  loom lineage {name} --record {record} --run {each['run']}{of}  # {each['table']}")


def _word(text: str) -> str:
    """As a shell takes it; what cannot be shown as bash and zsh write it."""
    if text.isprintable():
        return shlex.quote(text)
    shown = (c if c.isprintable() and c not in "'\\" else _bytes(c) for c in text)
    return f"$'{''.join(shown)}'"


def _bytes(sign: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in sign.encode("utf-8", "surrogatepass"))


def _columns(title: str, values: Mapping[str, Any], terminal: Terminal) -> None:
    terminal.line()
    terminal.line(title, "bold")
    for key, value in values.items():
        text = value if isinstance(value, str) else json.dumps(as_plain(value), ensure_ascii=False)
        terminal.paragraph(text, first=f"  {key}: ", rest="    ")
