"""Every pipeline of a project at once: what is in ``pipelines/``, and what one says about another.

A file with problems is set aside; the others stay usable.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from loom_dagster.errors import Misconfigured, Problem
from loom_dagster.settings import Settings
from loom_dagster.spec.findings import nearest, refusal
from loom_dagster.spec.pipeline_file import PipelineFile, read_pipeline
from loom_dagster.spec.places import place_of, upstream_name

__all__ = ["Project", "load_project"]

_NAME_LINE = re.compile(r"^name:[ \t]*([\"']?)(.+?)\1[ \t]*(?:#.*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """``files`` are the pipelines that can run, by name; ``broken`` the problems of those that cannot, by
    name (or file stem). ``problems`` holds every problem of every file, warnings too."""

    settings: Settings
    files: Mapping[str, PipelineFile] = field(default_factory=dict)
    broken: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)

    @property
    def problems(self) -> tuple[Problem, ...]:
        of_files = (p for file in self.files.values() for p in file.problems)
        return (*(p for problems in self.broken.values() for p in problems), *of_files)

    @property
    def names(self) -> tuple[str, ...]:
        """Every pipeline, also those that cannot run, sorted."""
        return tuple(sorted({*self.files, *self.broken}))

    def problems_of(self, name: str) -> tuple[Problem, ...]:
        """The problems of one pipeline; none for an unknown name."""
        if name in self.files:
            return self.files[name].problems
        return self.broken.get(name, ())

    def pipeline(self, name: str) -> PipelineFile:
        """The pipeline called ``name``.

        Raises Misconfigured for an unknown name, and for one whose file has errors (``problems``).
        """
        if name in self.files:
            return self.files[name]
        if name in self.broken:
            raise refusal(self.broken[name], f"pipeline `{name}` cannot run")
        if not self.names:
            folder = self.settings.pipelines
            raise Misconfigured(
                f"there is no pipeline `{name}`",
                why=f"no *.yaml file in {folder}/",
                fix="`loom init` writes a first one",
            )
        raise Misconfigured(f"there is no pipeline `{name}`", fix=nearest(name, self.names))

    def upstream(self, name: str) -> tuple[str, ...]:
        """The pipelines whose result ``name`` reads: by ``pipeline://``, or where they load to."""
        return _edges(self.files, self.settings.root)[name]

    def downstream(self, name: str) -> tuple[str, ...]:
        """The pipelines that read what ``name`` makes."""
        return tuple(n for n, read in _edges(self.files, self.settings.root).items() if name in read)


def load_project(settings: Settings) -> Project:
    """Read every pipeline below the project. Never raises for a bad one."""
    read: dict[Path, PipelineFile] = {}
    broken: dict[str, tuple[Problem, ...]] = {}
    for path in _paths(settings):
        try:
            read[path] = read_pipeline(path, settings.root)
        except Misconfigured as error:
            name = _written_name(path)
            broken[name] = (*broken.get(name, ()), *error.problems)
    files = _set_aside(read, broken, lambda f: f.spec.name, _same_name)
    by_name = {file.spec.name: file for file in files}
    for name in [n for n in by_name if n in broken]:  # one of the two could not even be read
        clash = Problem(
            what=f"another file, which has problems, is called `{name}` as well",
            where=by_name[name].where("name"),
            fix="give each pipeline a name of its own",
        )
        broken[name] = (*broken[name], *by_name.pop(name).problems, clash)
    root = settings.root
    same = _set_aside(
        {f.path: f for f in by_name.values()},
        broken,
        lambda f: place_of(f.spec.load.destination, root, f.spec.name),
        _same_destination,
    )
    by_name = {file.spec.name: file for file in same}
    of_project = (
        *_missing_upstream(by_name, broken),
        *_misaligned(by_name),
        *_cycles(by_name, root),
        *_missing_channels(by_name, settings),
    )
    for name, problem in of_project:
        broken[name] = (*broken.get(name, ()), problem)
    return Project(
        settings=settings,
        files={n: by_name[n] for n in sorted(by_name) if n not in broken},
        broken={n: broken[n] for n in sorted(broken)},
    )


def _paths(settings: Settings) -> list[Path]:
    folder = settings.root / settings.pipelines
    if not folder.is_dir():
        return []
    found = [p for p in folder.iterdir() if p.suffix in (".yaml", ".yml") and not p.name.startswith(".")]
    return sorted(found)


def _written_name(path: Path) -> str:
    """The name a broken file would have, so that it can be asked for; else its stem."""
    try:
        match = _NAME_LINE.search(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        match = None
    return match[2] if match else path.stem


def _set_aside(
    files: Mapping[Path, PipelineFile],
    broken: dict[str, tuple[Problem, ...]],
    of: Callable[[PipelineFile], str],
    problem: Callable[[PipelineFile, PipelineFile], Problem],
) -> list[PipelineFile]:
    """The files that share ``of`` with no other; the others become broken, each naming the next."""
    groups: defaultdict[str, list[PipelineFile]] = defaultdict(list)
    for file in files.values():
        groups[of(file)].append(file)
    for group in groups.values():
        for index, file in enumerate(group if len(group) > 1 else []):
            other = group[(index + 1) % len(group)]
            name = file.spec.name
            broken[name] = (*broken.get(name, ()), *file.problems, problem(file, other))
    return [group[0] for group in groups.values() if len(group) == 1]


def _same_name(file: PipelineFile, other: PipelineFile) -> Problem:
    return Problem(
        what=f"the name `{file.spec.name}` is also that of {other.where('name')}",
        where=file.where("name"),
        fix="give each pipeline a name of its own",
    )


def _same_destination(file: PipelineFile, other: PipelineFile) -> Problem:
    return Problem(
        what=f"pipeline `{other.spec.name}` has the same destination ({other.where('load', 'destination')})",
        where=file.where("load", "destination"),
        fix="give each pipeline a destination of its own",
    )


def _edges(files: Mapping[str, PipelineFile], root: Path) -> dict[str, tuple[str, ...]]:
    """Each pipeline with those that it reads."""
    makers = {place_of(f.spec.load.destination, root, name): name for name, f in files.items()}
    found: dict[str, tuple[str, ...]] = {}
    for name, file in files.items():
        source = file.spec.extract.source
        maker = upstream_name(source) or makers.get(place_of(source, root, name))
        own = maker == name and upstream_name(source) is None  # a pipeline may enrich its own table
        found[name] = () if maker is None or own else (maker,)
    return found


def _missing_upstream(
    files: Mapping[str, PipelineFile], broken: Mapping[str, tuple[Problem, ...]]
) -> Iterable[tuple[str, Problem]]:
    known = {*files, *broken}
    for name, file in files.items():
        wanted = upstream_name(file.spec.extract.source)
        if wanted is not None and wanted not in known:
            yield (
                name,
                Problem(
                    what=f"`{file.spec.extract.source}` names no pipeline of this project",
                    where=file.where("extract", "source"),
                    fix=nearest(wanted, known - {name}),
                ),
            )


def _misaligned(files: Mapping[str, PipelineFile]) -> Iterable[tuple[str, Problem]]:
    """Partitions of a pipeline that are not those of the one it reads."""
    for name, file in files.items():
        above = upstream_name(file.spec.extract.source)
        block = file.spec.extract.partitions
        if above is None or above not in files or block is None:
            continue
        theirs = files[above].spec.extract.partitions
        where = file.where("extract", "partitions")
        if theirs is not None and (why := block.partitioning().within(theirs.partitioning())):
            what = f"its partitions are not those of `{above}`, which it reads: {why}"
            yield name, Problem(what=what, where=where, fix="give both the same, or this one none")
        if theirs is None and block.column is None:
            what = (
                f"`{above}`, which it reads, has no partitions, so nothing tells which rows belong to which"
            )
            yield name, Problem(what=what, where=where, fix="name a column of it in `partitions.column`")


def _missing_channels(files: Mapping[str, PipelineFile], settings: Settings) -> Iterable[tuple[str, Problem]]:
    for name, file in files.items():
        for index, alert in enumerate(file.spec.monitoring.alerts):
            for channel in alert.channel:
                if channel not in settings.channels:
                    yield (
                        name,
                        Problem(
                            what=f"there is no channel `{channel}`",
                            where=file.where("monitoring", "alerts", index, "channel"),
                            fix=nearest(channel, settings.channels, others=len(settings.channels) > 1)
                            or f"declare it: [tool.loom.channels.{channel}]",
                        ),
                    )


def _cycles(files: Mapping[str, PipelineFile], root: Path) -> Iterable[tuple[str, Problem]]:
    """A problem for each pipeline of each cycle; cycles are taken out one by one until none is left."""
    edges = {name: [u for u in read if u in files] for name, read in _edges(files, root).items()}
    while True:
        cycle = _one_cycle(edges)
        if cycle is None:
            return
        round_trip = " -> ".join(f"`{name}`" for name in cycle)
        for name in dict.fromkeys(cycle):
            yield (
                name,
                Problem(
                    what=f"pipelines read each other in a circle: {round_trip}",
                    where=files[name].where("extract", "source"),
                    fix="let one of them read something else",
                ),
            )
            edges[name] = []


def _one_cycle(edges: Mapping[str, Iterable[str]]) -> list[str] | None:
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle
    return None
