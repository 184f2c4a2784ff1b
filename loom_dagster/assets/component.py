"""A loom project as a Dagster component: a defs.yaml instead of Python.

type: loom_dagster.LoomProjectComponent
attributes:
  project: '{{ project_root }}/my_loom'
  select: [tag:nightly]
  translation:
    group_name: '{{ pipeline }}'
    owners: [team:reviews]
"""

# no `from __future__ import annotations`: Dagster reads the fields' types as they are
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
from dagster.components.utils.translation import TranslationFn, TranslationFnResolver
from pydantic import BaseModel, Field

from loom_dagster.assembly.first_project import STARTER, write_starter
from loom_dagster.assets.build import build_definitions
from loom_dagster.assets.graph import Node
from loom_dagster.assets.translator import LoomTranslator

__all__ = ["LoomProjectComponent", "LoomProjectScaffolder"]

_PYPROJECT = (
    '[tool.loom]\nmodel = "offline/demo"  # simulated answers; any model litellm knows, or LOOM_MODEL\n'
)
_FILES = [name for name in STARTER if name not in {"definitions.py", "pyproject.toml"}]


class ScaffoldParams(BaseModel):
    """What `dg scaffold defs loom_dagster.LoomProjectComponent` takes."""

    project: str | None = Field(
        default=None,
        description="A loom project that is there already, relative to the Dagster project; else one is written.",
    )


class LoomProjectScaffolder(dg.Scaffolder[ScaffoldParams]):
    """Writes defs.yaml, and beside the code a first loom project with one pipeline that runs."""

    @classmethod
    def get_scaffold_params(cls) -> type[ScaffoldParams]:
        return ScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[ScaffoldParams]) -> None:
        """Nothing that is there is overwritten. Raises Misconfigured when a file cannot be written."""
        top = request.project_root or request.target_path
        name = request.params.project or request.target_path.name
        if request.params.project is None:
            folder = top / name
            write_starter(folder, name, _FILES)
            if not (folder / "pyproject.toml").exists():
                (folder / "pyproject.toml").write_text(_PYPROJECT, encoding="utf-8")
        dg.scaffold_component(request, {"project": "{{ project_root }}/" + name})


def _of_node(node: Node) -> dict[str, Any]:
    return {"node": node, "pipeline": node.pipeline, "role": node.role}


@dg.scaffold_with(LoomProjectScaffolder)
@dataclass
class LoomProjectComponent(dg.Component, dg.Resolvable):
    """The pipelines of a loom project. ``project``: its folder, from the folder of defs.yaml.
    ``select``: some of its pipelines, by name or as ``tag:NAME``. ``translation``: what shall be
    different of an asset; ``pipeline``, ``role`` (source, transformed, quarantine, loaded) and ``spec``
    can be used in it. Override `translator` to change more."""

    project: str
    select: Sequence[str] | None = None
    translation: Annotated[TranslationFn[Node] | None, TranslationFnResolver(_of_node)] = field(default=None)

    def translator(self) -> LoomTranslator:
        """What ``translation`` is applied to."""
        return LoomTranslator()

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The same as `build_definitions`."""
        translator = self.translator()
        if self.translation is not None:
            translator = _Translated(translator, self.translation)
        root = (context.path / Path(self.project)).resolve()
        return build_definitions(root, translator=translator, select=self.select)


class _Translated(LoomTranslator):
    """``base`` with the words of defs.yaml over it."""

    def __init__(self, base: LoomTranslator, translation: TranslationFn[Node]) -> None:
        self._base, self._translation = base, translation
        self._specs: dict[tuple[str, ...], dg.AssetSpec] = {}

    def key(self, node: Node) -> dg.AssetKey:
        return self._spec(node).key

    def asset_spec(self, node: Node, deps: Sequence[Node]) -> dg.AssetSpec:
        return self._spec(node).merge_attributes(deps=[self.key(dep) for dep in deps])

    def check_spec(self, check: Any, asset: dg.AssetKey) -> dg.AssetCheckSpec:
        return self._base.check_spec(check, asset)

    def _spec(self, node: Node) -> dg.AssetSpec:
        if node.path not in self._specs:
            self._specs[node.path] = self._translation(self._base.asset_spec(node, ()), node)
        return self._specs[node.path]
