"""A file that is there whole or not at all, readable as the user's other files are."""

from __future__ import annotations

import os
from pathlib import Path

from loom_dagster.errors import Misconfigured

__all__ = ["write_whole"]


def write_whole(path: Path, text: str, *, folder: bool = False) -> None:
    """In one rename; ``folder``: make its folder as well. Raises Misconfigured when it cannot be written."""
    beside = path.parent / f".{path.name}.{os.getpid()}.tmp"
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "a folder of that name is there")
        if folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_text(text, encoding="utf-8", newline="\n")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise Misconfigured(
            "the file cannot be written",
            where=str(path),
            why=error.strerror or str(error),
            fix="name another one with --output, or mend its folder",
        ) from error
