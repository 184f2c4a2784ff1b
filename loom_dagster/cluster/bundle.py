"""The small files of a project, for a node that does not have them."""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from loom_dagster.errors import Misconfigured

__all__ = ["bundle", "unbundle"]

_MOST = 64 * 1024 * 1024  # bytes
_NEVER = frozenset({"__pycache__", "node_modules", "site-packages"})


def bundle(root: Path, folders: Iterable[str]) -> bytes:
    """A zip of pyproject.toml, of all that is in ``folders``, and of every Python file of the project.

    Nothing in a hidden folder (.loom, .git, .venv) or an environment is in it. Raises Misconfigured for one that is
    too large.
    """
    named = [root / folder for folder in folders]
    sink, total = io.BytesIO(), 0
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in _files(root):
            wanted = path.suffix == ".py" or path == root / "pyproject.toml"
            if not wanted and not any(path.is_relative_to(folder) for folder in named):
                continue
            try:
                total += path.stat().st_size
                if total > _MOST:
                    raise _too_large(root, path)
                archive.write(path, path.relative_to(root).as_posix())
            except OSError as error:
                why = error.strerror or str(error)
                raise Misconfigured(
                    "a file of the project cannot be read", where=str(path), why=why
                ) from error
    return sink.getvalue()


def unbundle(packed: bytes) -> Path:
    """A new folder with the files. Whoever asks for it removes it."""
    folder = Path(tempfile.mkdtemp(prefix="loom-project-"))
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        archive.extractall(folder)
    return folder


def _files(root: Path) -> Iterator[Path]:
    for base, folders, files in os.walk(root):
        here = Path(base)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in _NEVER and not (here / name / "pyvenv.cfg").exists()
        )
        yield from (here / name for name in sorted(files))


def _too_large(root: Path, path: Path) -> Misconfigured:
    return Misconfigured(
        f"the project's own files are more than the {_MOST >> 20} MiB that go to every worker",
        where=str(path.relative_to(root)),
        fix="keep data out of the folders of pipelines, prompts and contexts",
    )
