"""The project's settings: ``[tool.loom]`` in pyproject.toml, each value overridable by the environment."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from loom_dagster.errors import Misconfigured

__all__ = ["OFFLINE_MODEL", "RunOptions", "Settings", "find_project", "load_settings"]

OFFLINE_MODEL = "offline/demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What ``[tool.loom]`` may hold. Folders are relative to ``root``; durations in seconds.

    ``model`` is used by pipelines that name none. ``outage_patience``: how long a provider may
    be down before the rest of a run is deferred.
    """

    root: Path
    model: str | None = None
    api_base: str | None = None
    api_key_env: str | None = None
    pipelines: str = "pipelines"
    prompts: str = "prompts"
    context: str = "context"
    state: str = ".loom"
    outage_patience: float = 120.0

    @property
    def state_dir(self) -> Path:
        """Where everything is written that is not a destination; git-ignored."""
        return self.root / self.state


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How one run differs from what the YAML says.

    ``limit``, ``model`` and ``offline`` make it a trial: it is not loaded or published unless
    ``load`` is set. ``fresh`` does not continue an open run. ``strict`` turns warnings about
    unlocked prompts into errors.
    """

    limit: int | None = None
    model: str | None = None
    offline: bool = False
    fresh: bool = False
    load: bool = False
    strict: bool = False
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def trial(self) -> bool:
        return (self.limit is not None or self.model is not None or self.offline) and not self.load


def find_project(start: Path) -> Path:
    """The nearest folder at or above ``start`` whose pyproject.toml has ``[tool.loom]``.

    Raises Misconfigured when there is none.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if _table(folder) is not None:
            return folder
    raise Misconfigured(
        "no loom project here",
        where=str(start),
        why="no pyproject.toml with a [tool.loom] table in this folder or above it",
        fix="run `loom init` to make one, or pass --project DIR",
    )


def load_settings(root: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings of the project at ``root``; ``LOOM_<NAME>`` in the environment goes before the file.

    Raises Misconfigured for unknown names and wrong types, naming the nearest right one.
    """
    root = root.resolve()
    table = dict(_table(root) or {})
    known = {f.name: f for f in fields(Settings) if f.name != "root"}
    for name in table:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise Misconfigured(
                f"unknown setting `{name}` in [tool.loom]",
                where="pyproject.toml",
                fix=f"did you mean `{near[0]}`?" if near else f"known: {', '.join(sorted(known))}",
            )
    for name in known:
        if value := environ.get(f"LOOM_{name.upper()}"):
            table[name] = value
    return Settings(root=root, **{name: _typed(name, value) for name, value in table.items()})


def _typed(name: str, value: Any) -> Any:
    if name == "outage_patience":
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            seconds = -1.0
        if not 0 <= seconds < float("inf"):
            raise Misconfigured(
                f"setting `{name}` is `{value}`, not a number of seconds", where="[tool.loom]"
            )
        return seconds
    if not isinstance(value, str):
        raise Misconfigured(f"setting `{name}` is `{value}`, not a text", where="[tool.loom]")
    return value


def _table(folder: Path) -> Mapping[str, Any] | None:
    path = folder / "pyproject.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Misconfigured("pyproject.toml cannot be read", where=str(path), why=str(error)) from error
    table = document.get("tool", {}).get("loom")
    return table if isinstance(table, Mapping) else None
