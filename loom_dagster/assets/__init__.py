"""Pipelines as Dagster assets and checks. The only room that imports Dagster; it decides nothing."""

from loom_dagster.assets.build import build_definitions
from loom_dagster.assets.decorator import loom_assets
from loom_dagster.assets.graph import Node
from loom_dagster.assets.io_manager import LoomIOManager
from loom_dagster.assets.materialize import materialize
from loom_dagster.assets.options import LoomOptions
from loom_dagster.assets.resource import LoomResource
from loom_dagster.assets.translator import Check, LoomTranslator
from loom_dagster.assets.ui import ui_command

__all__ = [
    "Check",
    "LoomIOManager",
    "LoomOptions",
    "LoomResource",
    "LoomTranslator",
    "Node",
    "build_definitions",
    "loom_assets",
    "materialize",
    "ui_command",
]
