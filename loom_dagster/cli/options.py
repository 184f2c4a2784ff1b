"""Options that every command has, and the project they lead to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loom_dagster.errors import Misconfigured

if TYPE_CHECKING:
    from loom_dagster.assembly import Loom

__all__ = ["AsJson", "ProjectDir", "chosen", "find_root", "open_loom"]

ProjectDir = Annotated[
    Path | None,
    typer.Option(
        "--project",
        metavar="DIR",
        help="The project's folder; default: the nearest one up that has [tool.loom].",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else there.")]


def find_root(project: Path | None) -> Path:
    """The folder of the project. Raises Misconfigured when there is none."""
    from loom_dagster.settings import find_project

    if project is not None and not project.is_dir():
        raise Misconfigured("no such folder", where=str(project), fix="--project takes a project's folder")
    return find_project(project or Path.cwd())


def open_loom(project: Path | None) -> Loom:
    """The project, opened. Raises Misconfigured."""
    from loom_dagster.assembly import Loom

    return Loom.open(find_root(project))


def chosen(loom: Loom, names: list[str], everything: bool) -> list[str]:
    """The pipelines named, each once, or all of them. Raises Misconfigured."""
    known = list(loom.project.names)
    if everything == bool(names):
        what = "name pipelines or say --all, not both" if names else "name a pipeline or say --all"
        raise Misconfigured(what, fix=f"pipelines here: {', '.join(known) or 'none yet'}")
    if everything:
        if not known:
            raise Misconfigured(
                f"no pipelines in {loom.settings.pipelines}/",
                where=str(loom.settings.root),
                fix="write one, or let `loom init` do it",
            )
        return known
    for name in names:
        loom.project.pipeline(name)  # raises for an unknown name, and for a broken one that is asked for
    return list(dict.fromkeys(names))
