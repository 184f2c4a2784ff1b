"""A pipeline and what it hangs together with, drawn: https://mermaid.js.org/syntax/flowchart.html.

Valid whatever things are called: nodes have ids of our own, and in labels every sign that means something to Mermaid is
written as an entity.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["label", "pipeline_chart", "run_chart"]

_MEANS_SOMETHING = re.compile(r"""[#"&<>`\\{}|\[\]()]""")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def label(text: object) -> str:
    """``text`` as the inside of a quoted label."""
    plain = _UNPRINTABLE.sub(" ", str(text)).strip() or " "
    return _MEANS_SOMETHING.sub(lambda found: f"#{ord(found[0])};", plain)


class _Chart:
    def __init__(self) -> None:
        self.lines = ["flowchart LR"]
        self._number = 0

    def node(self, shape: str, *words: object) -> str:
        """A node with a line for each of ``words``; gives its id."""
        name = f"n{self._number}"
        self._number += 1
        text = "<br/>".join(label(word) for word in words if word not in (None, ""))
        opening, closing = {"place": ("[(", ")]"), "pipeline": ("[", "]"), "text": ("[/", "/]"), "model": ("{{", "}}"),
                            "judge": ("([", "])")}[shape]  # fmt: skip
        self.lines.append(f'  {name}{opening}"{text}"{closing}')
        return name

    def edge(self, start: str, end: str, *, dotted: bool = False) -> None:
        self.lines.append(f"  {start} {'-.->' if dotted else '-->'} {end}")

    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


def pipeline_chart(document: Mapping[str, Any]) -> str:
    """Of a pipeline's document: what it reads, what goes into it, where it goes, who reads that."""
    chart = _Chart()
    own = chart.node("pipeline", document["pipeline"], _version(document))
    _texts(chart, own, document.get("prompt"), document.get("contexts") or ())
    chart.edge(chart.node("model", document["model"]["name"] or "no model"), own, dotted=True)
    for evaluator in document["evaluators"]:
        judged = chart.node("judge", evaluator["name"], f"{evaluator['type']} >= {evaluator['threshold']:g}")
        chart.edge(own, judged, dotted=True)
    above = [chart.node("pipeline", n["pipeline"], _version(n)) for n in document["upstream"]]
    if not document["reads_pipeline"]:
        for place in document["inputs"]:
            read = chart.node("place", place["uri"])
            chart.edge(read, own)
            for name in above:
                chart.edge(name, read)
    else:
        for name in above:
            chart.edge(name, own)
    for place in document["outputs"]:
        made = chart.node("place", place["uri"])
        chart.edge(own, made)
        if place["what"] == "passed":
            for neighbour in document["downstream"]:
                chart.edge(made, chart.node("pipeline", neighbour["pipeline"], _version(neighbour)))
    return chart.text()


def run_chart(document: Mapping[str, Any]) -> str:
    """Of a run's document: what it read and used, how many records went where."""
    chart, counts = _Chart(), document["counts"] or {}
    own = chart.node(
        "pipeline", document["pipeline"], document["run"], document["partition"], document["status"]
    )
    _texts(chart, own, document["prompt"], document["contexts"])
    for model in document["models"]:
        if not model["role"].startswith("evaluate:"):
            chart.edge(chart.node("model", model["name"], model["role"]), own, dotted=True)
    for evaluator in document["evaluators"]:
        mean = "" if evaluator["mean"] is None else f"mean {evaluator['mean']:.2f}"
        words = (evaluator["name"], f"{evaluator['passed']:,} passed, {evaluator['failed']:,} failed", mean)
        chart.edge(own, chart.node("judge", *words), dotted=True)
    if document["input"]:
        read = chart.node("place", document["input"]["source"], f"{counts.get('extracted', 0):,} records")
        chart.edge(read, own)
    if document["output"]:
        made = chart.node("place", document["output"]["destination"], f"{counts.get('passed', 0):,} passed")
        chart.edge(own, made)
    for fate in ("quarantined", "deferred"):
        if counts.get(fate):
            chart.edge(own, chart.node("place", fate, f"{counts[fate]:,} records"))
    return chart.text()


def _texts(chart: _Chart, own: str, prompt: Mapping[str, Any] | None, contexts: Any) -> None:
    if prompt:
        chart.edge(
            chart.node("text", prompt.get("name") or prompt.get("file"), prompt.get("version")),
            own,
            dotted=True,
        )
    for context in contexts:
        chart.edge(chart.node("text", context["name"], context["version"]), own, dotted=True)


def _version(document: Mapping[str, Any]) -> str:
    return f"version {document['version']}" if document.get("version") else ""
