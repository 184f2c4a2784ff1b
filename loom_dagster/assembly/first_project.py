"""The small project that `loom init` and `dg scaffold` write: it runs at once, and nothing is overwritten."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from loom_dagster.errors import Misconfigured

__all__ = ["STARTER", "write_starter"]

# what it becomes: what it is called in starter/, where no tool may take it for ours
STARTER = {
    "pyproject.toml": "pyproject.toml.txt",
    "definitions.py": "definitions.py.txt",
    "pipelines/example.yaml": "example.yaml",
    "prompts/route_ticket.txt": "route_ticket.txt",
    "prompts/versions.lock": "versions.lock",
    "context/teams.md": "teams.md",
    "data/tickets.csv": "tickets.csv",
    "tests/example_test.yaml": "example_test.yaml.txt",
    "README.md": "README.md",
    ".gitignore": "gitignore.txt",
}


def write_starter(folder: Path, name: str, targets: Iterable[str] = STARTER) -> tuple[list[str], list[str]]:
    """Written and kept, relative to ``folder``. Raises Misconfigured when a file cannot be written."""
    written, kept = [], []
    starter = files("loom_dagster.assembly") / "starter"
    for target in targets:
        path = folder / target
        text = (starter / STARTER[target]).read_text(encoding="utf-8").replace("@NAME@", name)
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
