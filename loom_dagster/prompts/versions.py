"""``prompts/versions.lock``: which content a version of a prompt stands for. Committed with the prompts.

TOML, one table a prompt, one line a version, so that two branches merge line by line.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loom_dagster.errors import Misconfigured, Problem
from loom_dagster.prompts.prompt_file import PromptFile
from loom_dagster.settings import Settings
from loom_dagster.spec import read_text, shown_path

__all__ = ["LOCK_FILE", "Lock", "check_lock", "read_lock", "write_lock"]

LOCK_FILE = "versions.lock"
Lock = dict[str, dict[str, str]]
"""name -> version -> sha256 (hex)"""

_HEAD = "# The content that each version of a prompt stands for. Written by `loom prompts lock`; commit it.\n"


@dataclass(frozen=True, slots=True)
class _Place:
    path: Path
    shown: str


def _place(settings: Settings) -> _Place:
    path = settings.root / settings.prompts / LOCK_FILE
    return _Place(path, shown_path(path, settings.root))


def read_lock(settings: Settings) -> Lock:
    """Every locked version; empty when there is no file. Raises Misconfigured when it cannot be read."""
    place = _place(settings)
    if not place.path.exists():
        return {}
    try:
        tables = tomllib.loads(read_text(place.path, settings.root))
    except tomllib.TOMLDecodeError as error:
        fix = "take it from version control, or delete it and run `loom prompts lock`"
        raise Misconfigured("cannot be read", where=place.shown, why=str(error), fix=fix) from error
    for name, versions in tables.items():
        if not isinstance(versions, Mapping) or not all(isinstance(v, str) for v in versions.values()):
            raise Misconfigured(f"`{name}` is not a table of versions and hashes", where=place.shown)
    return {n: {v: h.removeprefix("sha256:") for v, h in versions.items()} for n, versions in tables.items()}


def write_lock(settings: Settings, lock: Lock) -> None:
    """Replace the file in one step."""
    place = _place(settings)
    lines = [_HEAD]
    for name in sorted(lock):
        lines.append(f"\n[{_quoted(name)}]\n")
        lines += [f'{_quoted(version)} = "sha256:{lock[name][version]}"\n' for version in sorted(lock[name])]
    beside = place.path.with_suffix(".tmp")
    place.path.parent.mkdir(parents=True, exist_ok=True)
    beside.write_text("".join(lines), encoding="utf-8", newline="\n")
    beside.replace(place.path)


def check_lock(
    prompt: PromptFile, version: str, *, pinned_at: str | None, settings: Settings, strict: bool
) -> list[Problem]:
    """Is the content of a prompt the one that was locked under its version?

    A pinned version (``pinned_at``: where) must be; otherwise it is a warning, with ``strict`` an error.
    """
    try:
        locked = read_lock(settings).get(prompt.name, {}).get(version)
    except Misconfigured as error:
        return [Problem(what=f"{error.what}: {error.why}" if error.why else error.what, where=error.where)]
    if locked == prompt.digest:
        return []
    where = prompt.where("version")
    lock_file = _place(settings).shown
    if locked is None:
        what = f"version {version} of prompt `{prompt.name}` is not in {lock_file}"
        fix = "run `loom prompts lock` and commit the file"
        return [Problem(what=what, where=where, fix=fix, level="error" if strict else "warning")]
    pin = f", which is pinned at {pinned_at}" if pinned_at else ""
    what = f"prompt `{prompt.name}` was changed, but is still version {version}{pin}"
    fix = f"give it a new version, or take back the change ({lock_file} has the hash of what it was)"
    return [Problem(what=what, where=where, fix=fix, level="error" if strict or pinned_at else "warning")]


def _quoted(text: str) -> str:
    """A TOML basic string; JSON's is one, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
