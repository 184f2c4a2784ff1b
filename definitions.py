"""The code location of this project: `dagster dev`, `dg dev` and `loom ui` load it."""

from pathlib import Path

from loom_dagster.assets import build_definitions

defs = build_definitions(Path(__file__).parent)
