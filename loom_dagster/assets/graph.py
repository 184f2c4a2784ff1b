"""The project as a graph of assets: who reads what, what each is called, and what is broken.

Knows nothing of Dagster. A pipeline with errors stays in the graph as a broken node, so that it
is seen where the others are; the rest goes on without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from loom_dagster.assets.keys import (
    Address,
    Keys,
    address,
    identifier,
    pipeline_address,
    segment,
    text_address,
)
from loom_dagster.errors import Misconfigured, Problem
from loom_dagster.spec import nearest

if TYPE_CHECKING:
    from loom_dagster.assets.runs import Runs
    from loom_dagster.prompts import TextFile
    from loom_dagster.spec import PipelineFile, Project

__all__ = ["Graph", "Lane", "Node", "Role", "selected", "survey"]

Role = Literal["source", "prompt", "context", "transformed", "quarantine", "loaded", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One asset before Dagster sees it. ``path``: its key unless a translator says otherwise.
    ``pipeline`` and ``file`` are None for what is read, which may belong to several; ``uri`` is
    without secrets; ``kind`` is a file format or a database. ``text``: the file of a prompt or a context;
    ``texts``: those that a table was made with."""

    role: Role
    path: tuple[str, ...]
    uri: str
    kind: str
    pipeline: str | None = None
    file: PipelineFile | None = None
    code_version: str | None = None
    text: Path | None = None
    texts: Sequence[Path] = ()
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A pipeline that can be run. ``reads``: the node it depends on; None when it enriches its
    own table. ``texts``: its prompt and contexts. ``identifier``: its name where only [A-Za-z0-9_] goes."""

    name: str
    identifier: str
    file: PipelineFile
    reads: Node | None
    transformed: Node
    quarantine: Node
    loaded: Node
    texts: Sequence[Node] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """``lanes`` in an order in which a pipeline comes after those that it reads."""

    lanes: Sequence[Lane]
    sources: Sequence[Node]
    texts: Sequence[Node]
    broken: Sequence[Node]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    file: PipelineFile
    code_version: str
    source: Address
    destination: Address
    texts: Sequence[TextFile]


def survey(runs: Runs, select: Sequence[str] | None = None) -> Graph:
    """Read the project. A pipeline that cannot run becomes a broken node; nothing is raised for it.
    ``select`` leaves some, by name or as ``tag:NAME``; raises Misconfigured for one that is not there."""
    drafts, broken = _read(runs)
    keys = Keys()
    dead = {name: _broken(keys, name, problems) for name, problems in sorted(broken.items())}
    # what pipelines make claims its key before what they only read
    transformed = {name: _made(keys, name, drafts[name], "transformed") for name in sorted(drafts)}
    quarantine = {name: _made(keys, name, drafts[name], "quarantine") for name in sorted(drafts)}
    loaded = {name: _made(keys, name, drafts[name], "loaded") for name in sorted(drafts)}
    made = {pipeline_address(name).identity: node for name, node in (dead | transformed).items()}
    made |= {drafts[name].destination.identity: node for name, node in loaded.items()}
    lanes = {
        name: Lane(
            name=name,
            identifier=identifier(name),
            file=draft.file,
            reads=_reads(keys, draft, made),
            texts=[_text(keys, text, runs.settings.root) for text in draft.texts],
            transformed=transformed[name],
            quarantine=quarantine[name],
            loaded=loaded[name],
        )
        for name, draft in drafts.items()
    }
    wanted = selected(runs.project, select) if select is not None else {*lanes, *dead}
    order = [name for name in _order(lanes) if name in wanted]
    reads = [found for name in order if (found := lanes[name].reads) is not None]
    return Graph(
        lanes=[lanes[name] for name in order],
        sources=list({node.path: node for node in reads if node.role == "source"}.values()),
        texts=list({text.path: text for name in order for text in lanes[name].texts}.values()),
        broken=[node for name, node in dead.items() if name in wanted],
    )


def selected(project: Project, select: Sequence[str]) -> set[str]:
    """Names of the pipelines that ``select`` means. Raises Misconfigured for what means none."""
    found: set[str] = set()
    for word in [select] if isinstance(select, str) else select:
        tag = word.removeprefix("tag:") if word.startswith("tag:") else None
        if tag is not None:
            names = [name for name, file in project.files.items() if tag in file.spec.tags]
        else:
            names = [word] if word in project.names else []
        if not names:
            known = {f"tag:{tag}" for file in project.files.values() for tag in file.spec.tags}
            raise Misconfigured(
                f"`{word}` selects no pipeline", fix=nearest(word, sorted({*project.names, *known}))
            )
        found.update(names)
    return found


def _read(runs: Runs) -> tuple[dict[str, _Draft], dict[str, Sequence[Problem]]]:
    root = runs.settings.root
    drafts: dict[str, _Draft] = {}
    broken: dict[str, Sequence[Problem]] = dict(runs.project.broken)
    for name, file in runs.project.files.items():
        try:
            version, texts = runs.identity(name)
        except Misconfigured as error:
            broken[name] = error.problems or (Problem(what=error.what, where=error.where, fix=error.fix),)
            continue
        extract, load = file.spec.extract, file.spec.load
        drafts[name] = _Draft(
            file=file,
            code_version=version,
            source=address(extract.source, root=root, table=name, file_format=extract.format),
            destination=address(load.destination, root=root, table=name, file_format=load.format),
            texts=texts,
        )
    return drafts, broken


def _order(lanes: Mapping[str, Lane]) -> list[str]:
    """Each after the one it reads. The project has set aside those that read each other in a circle."""
    graph: dict[str, list[str]] = {}
    for name, lane in sorted(lanes.items()):
        upstream = lane.reads.pipeline if lane.reads else None
        graph[name] = [upstream] if upstream is not None and upstream in lanes else []
    return list(TopologicalSorter(graph).static_order())


def _made(keys: Keys, name: str, draft: _Draft, role: Role) -> Node:
    place = draft.destination if role == "loaded" else pipeline_address(name)
    if role == "quarantine":
        place = replace(place, identity=f"quarantine:{name}", segments=(segment(name), "quarantine"))
    return Node(
        role=role,
        path=keys.claim(place.identity, place.segments),
        uri=place.uri,
        kind=place.kind,
        pipeline=name,
        file=draft.file,
        code_version=None if role == "loaded" else draft.code_version,
        texts=[text.path for text in draft.texts] if role == "transformed" else (),
    )


def _reads(keys: Keys, draft: _Draft, made: Mapping[str, Node]) -> Node | None:
    place = draft.source
    if place.identity == draft.destination.identity:
        return None
    if place.identity in made:
        return made[place.identity]
    path = keys.claim(place.identity, place.segments)
    return Node(role="source", path=path, uri=place.uri, kind=place.kind)


def _text(keys: Keys, text: TextFile, root: Path) -> Node:
    where = text.path.relative_to(root) if text.path.is_relative_to(root) else text.path
    place = text_address(text.kind, text.name, where.as_posix())
    path = keys.claim(place.identity, place.segments)
    return Node(role=text.kind, path=path, uri=place.uri, kind=place.kind, text=text.path)


def _broken(keys: Keys, name: str, problems: Sequence[Problem]) -> Node:
    place = pipeline_address(name)
    return Node(
        role="broken",
        path=keys.claim(place.identity, place.segments),
        uri=place.uri,
        kind="broken",
        pipeline=name,
        problems=tuple(problems),
    )
