"""A pipeline as it was at a commit: its YAML, prompts, contexts and versions.lock, with the settings and the state of today."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from loom_dagster.errors import Misconfigured, Problem
from loom_dagster.settings import load_settings
from loom_dagster.spec import load_project

if TYPE_CHECKING:
    from loom_dagster.assembly.loom import Loom

__all__ = ["commit_of", "of_ref", "project_at"]

_LARGEST = 20_000_000  # bytes of a file: no prompt is that long, and rows are not read from here
_PATIENCE = 120  # seconds


def commit_of(root: Path, ref: str) -> str | None:
    """The commit that ``ref`` names in the repository of the project; None when there is no such ref, or no git."""
    found = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    return None if found is None or found.returncode else found.stdout.decode().strip()


def project_at(loom: Loom, commit: str, folder: Path, environ: Mapping[str, str] = os.environ) -> Loom:
    """The project as of ``commit``, written into ``folder``. It shares ledger, answers, connections and prices with
    ``loom``. Raises Misconfigured when it was not there yet."""
    made = _git(loom.settings.root, "archive", "--format=tar", "-o", str(folder / "tar"), commit, ".")
    if made is None or made.returncode:
        said = made.stderr.decode(errors="replace").strip().splitlines() if made else []
        raise Misconfigured(
            "the project cannot be read",
            why=said[-1] if said else "git cannot be run",
            fix="name a commit in which the project is there",
        )
    root = folder / "project"
    _unpack(folder / "tar", root)
    then = load_settings(root, environ)
    now = loom.settings
    settings = replace(
        now,
        root=then.root,
        state=str(now.state_dir.resolve()),
        model=then.model,
        pipelines=then.pipelines,
        prompts=then.prompts,
        context=then.context,
    )
    return type(loom)(settings, load_project(settings), environ)


def of_ref(error: Misconfigured, ref: str) -> Misconfigured:
    """What is wrong with a baseline, said to be of it."""
    problems = tuple(
        Problem(what=p.what, where=f"{ref}:{p.where}" if p.where else ref, fix=p.fix, level=p.level)
        for p in error.problems
    )
    where = f"{ref}:{error.where}" if error.where else None
    what = f"baseline `{ref}`: {error.what}"
    fix = error.fix or "name a commit whose pipeline can be run"
    return Misconfigured(what, problems=problems, where=where, why=error.why, fix=fix)


def _unpack(archive: Path, root: Path) -> None:
    root.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar:
            if (member.isfile() and member.size <= _LARGEST) or member.isdir() or member.issym():
                try:
                    tar.extract(member, root, filter="data")
                except tarfile.FilterError:  # a link that leads out of the project
                    continue
    archive.unlink()


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes] | None:
    program = shutil.which("git")
    if program is None:
        return None
    try:
        return subprocess.run(  # noqa: S603 - a program and arguments, no shell
            [program, "-C", str(root), *arguments], capture_output=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
