"""``loom init``: a small project that runs at once."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from loom_dagster.cli.exits import OK
from loom_dagster.cli.options import AsJson
from loom_dagster.cli.output import emit
from loom_dagster.cli.terminal import Terminal

__all__ = ["init"]

_SECTION = '[tool.loom]\nmodel = "offline/demo"\n\n[tool.dagster]\nmodule_name = "definitions"\n'


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where; it is made if need be.")] = Path(),
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The project's name; default: the folder's.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Write a small project that works. Never overwrites a file."""
    from loom_dagster.assembly.first_project import write_starter

    written, kept = write_starter(folder, project_name(name or folder.resolve().name))
    to_add = _SECTION if "pyproject.toml" in kept and not _has_section(folder / "pyproject.toml") else None
    if as_json:
        emit({"project": str(folder.resolve()), "written": written, "kept": kept, "add_to_pyproject": to_add})
    else:
        show(folder, written, kept, to_add, Terminal(sys.stdout))
    return OK


def project_name(text: str) -> str:
    """``text`` as a name that packaging accepts."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._") or "my-loom-project"


def show(folder: Path, written: list[str], kept: list[str], to_add: str | None, terminal: Terminal) -> None:
    """What is there now and what to do next."""
    for target in written:
        terminal.line(f"{terminal.sign('good')} {folder / target}")
    for target in kept:
        terminal.line(f"{terminal.sign('none')} {folder / target} was there and is kept as it is")
    terminal.line()
    if to_add is not None:
        terminal.line("Add this to pyproject.toml; it makes the folder a loom project:", "bold")
        for line in to_add.splitlines():
            terminal.line(f"  {line}")
        terminal.line()
    terminal.line("Next:", "bold")
    if folder.resolve() != Path.cwd():
        terminal.line(f"  cd {folder}")
    terminal.line("  loom run example         # simulated answers: no key, no cost")
    terminal.line("  loom quarantine list example")
    terminal.line("  loom test example        # the prompt, held against what is expected of it")
    terminal.line("  loom ui                  # the same in Dagster")


def _has_section(pyproject: Path) -> bool:
    import tomllib

    try:
        document = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(document.get("tool", {}).get("loom"), dict)
