"""``loom init``: a small project that runs at once."""

from __future__ import annotations

import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from loom_dagster.cli.exits import OK
from loom_dagster.cli.options import AsJson
from loom_dagster.cli.output import emit
from loom_dagster.cli.terminal import Terminal
from loom_dagster.errors import Misconfigured

__all__ = ["STARTER", "init"]

# what it becomes: what it is called in starter/, where no tool may take it for ours
STARTER = {
    "pyproject.toml": "pyproject.toml.txt",
    "definitions.py": "definitions.py.txt",
    "pipelines/example.yaml": "example.yaml",
    "prompts/route_ticket.txt": "route_ticket.txt",
    "prompts/versions.lock": "versions.lock",
    "context/teams.md": "teams.md",
    "data/tickets.csv": "tickets.csv",
    "README.md": "README.md",
    ".gitignore": "gitignore.txt",
}
_SECTION = '[tool.loom]\nmodel = "offline/demo"\n\n[tool.dagster]\nmodule_name = "definitions"\n'


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where; it is made if need be.")] = Path(),
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The project's name; default: the folder's.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Write a small project that works. Never overwrites a file."""
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


def write_starter(folder: Path, name: str) -> tuple[list[str], list[str]]:
    """Written and kept, relative to ``folder``. Raises Misconfigured when a file cannot be written."""
    written, kept = [], []
    starter = files("loom_dagster.cli") / "starter"
    for target, resource in STARTER.items():
        path = folder / target
        text = (starter / resource).read_text(encoding="utf-8").replace("@NAME@", name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
        except FileExistsError:
            if not path.parent.is_dir():
                raise Misconfigured("a file is in the way of a folder", where=str(path.parent)) from None
            kept.append(target)
        except OSError as error:
            raise Misconfigured("cannot be written", where=str(path), why=error.strerror) from error
        else:
            written.append(target)
    return written, kept


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
    terminal.line("  loom ui                  # the same in Dagster")


def _has_section(pyproject: Path) -> bool:
    import tomllib

    try:
        document = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(document.get("tool", {}).get("loom"), dict)
