"""``loom list --graph``: what reads what, from sources through pipelines to destinations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from loom_dagster.cli.figures import without_login
from loom_dagster.cli.terminal import Terminal

if TYPE_CHECKING:
    from loom_dagster.spec import Project

__all__ = ["Graph", "as_document", "graph_of", "mermaid", "show_graph"]

Kind = Literal["source", "pipeline", "destination", "invalid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """``id`` is one for one place, however it is spelled; ``name`` is for people."""

    id: str
    name: str
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """``edges`` lead from what is read or made to what comes of it, by id."""

    nodes: Sequence[Node]
    edges: Sequence[tuple[str, str]]


def graph_of(project: Project) -> Graph:
    """A destination that another pipeline reads is one place. A pipeline that cannot run has no edges."""
    from loom_dagster.spec.places import place_of, upstream_name

    root = project.settings.root
    nodes: dict[str, Node] = {}
    edges: list[tuple[str, str]] = []

    def place(uri: str, table: str, kind: Kind) -> str:
        found = without_login(place_of(uri, root, table)).removeprefix(f"{root.as_posix()}/")
        if found not in nodes or kind == "destination":
            nodes[found] = Node(id=found, name=without_login(uri), kind=kind)
        return found

    for name, file in project.files.items():
        nodes[_pipeline(name)] = Node(id=_pipeline(name), name=name, kind="pipeline")
        edges.append((_pipeline(name), place(file.spec.load.destination, name, "destination")))
    for name, file in project.files.items():
        source = file.spec.extract.source
        upstream = upstream_name(source)
        edges.append((_pipeline(upstream) if upstream else place(source, name, "source"), _pipeline(name)))
    for name in project.broken:
        nodes[_pipeline(name)] = Node(id=_pipeline(name), name=name, kind="invalid")
    return Graph(nodes=list(nodes.values()), edges=edges)


def _pipeline(name: str) -> str:
    return f"pipeline://{name}"


def show_graph(graph: Graph, terminal: Terminal) -> None:
    """A tree from each place that nothing makes. What stands in it already is only named again."""
    if not graph.nodes:
        terminal.line("No pipelines yet; `loom init` writes an example.")
    for depth, node, again in _walk(graph):
        mark = {"pipeline": "● " if terminal.ellipsis else "* ", "invalid": "! "}.get(node.kind, "")
        rest = " (see above)" if again else " (cannot run: loom validate)" if node.kind == "invalid" else ""
        terminal.line(f"{'  ' * depth}{mark}{node.name}{rest}", "bold" if node.kind == "pipeline" else None)


def _walk(graph: Graph) -> Iterator[tuple[int, Node, bool]]:
    nodes = {node.id: node for node in graph.nodes}
    after: defaultdict[str, list[str]] = defaultdict(list)
    for start, end in graph.edges:
        after[start].append(end)
    made = {end for _, end in graph.edges}
    tops = [node.id for node in graph.nodes if node.id not in made]
    seen: set[str] = set()
    # a place that its own pipeline makes is under no top
    for top in [*sorted(tops, key=lambda each: nodes[each].name), *sorted(nodes)]:
        if top in seen:
            continue
        waiting = [(0, top)]
        while waiting:
            depth, each = waiting.pop()
            again = each in seen
            yield depth, nodes[each], again and bool(after[each])
            if not again:
                seen.add(each)
                waiting += [(depth + 1, next_one) for next_one in sorted(after[each], reverse=True)]


def mermaid(graph: Graph) -> str:
    """The same for a Markdown page."""
    numbers = {node.id: f"n{number}" for number, node in enumerate(graph.nodes)}
    shapes = {
        "source": '[("{}")]',
        "destination": '[("{}")]',
        "pipeline": '["{}"]',
        "invalid": '["{} (invalid)"]',
    }
    lines = ["flowchart LR"]
    lines += [
        f"  {numbers[n.id]}{shapes[n.kind].format(n.name.replace(chr(34), '#quot;'))}" for n in graph.nodes
    ]
    lines += [f"  {numbers[start]} --> {numbers[end]}" for start, end in graph.edges]
    return "\n".join(lines)


def as_document(graph: Graph) -> dict[str, Any]:
    """For ``--json``: nodes by name, edges by the ids of nodes."""
    return {
        "nodes": [{"id": node.id, "name": node.name, "kind": node.kind} for node in graph.nodes],
        "edges": [{"from": start, "to": end} for start, end in graph.edges],
    }
