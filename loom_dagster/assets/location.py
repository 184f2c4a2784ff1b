"""A code location for a project without a definitions.py of its own: the one around the working directory."""

from __future__ import annotations

from pathlib import Path

from loom_dagster.assets.build import build_definitions
from loom_dagster.settings import find_project

__all__ = ["defs"]

defs = build_definitions(find_project(Path.cwd()))
