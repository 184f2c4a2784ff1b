"""Where settings become objects: ``Loom`` is a project, opened."""

from loom_dagster.assembly.loom import Loom

__all__ = ["Loom"]
