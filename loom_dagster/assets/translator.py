"""How a pipeline looks in Dagster. Override a method to change one thing, keep the rest:

class Ours(LoomTranslator):
    def group(self, node):
        return "reviews"

defs = build_definitions(root, translator=Ours())
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from loom_dagster.assets.graph import Node
from loom_dagster.assets.keys import identifier, tag_value
from loom_dagster.assets.metadata import code_reference

__all__ = ["GATE", "Check", "LoomTranslator"]

GATE = "quality_gate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check on ``<pipeline>/transformed``: an evaluator, a monitor, or the gate if both are None."""

    pipeline: str
    name: str
    evaluator: str | None
    description: str
    blocking: bool
    monitor: str | None = None


class LoomTranslator:
    """Turns nodes into asset specs and checks into check specs. One method an attribute."""

    def key(self, node: Node) -> dg.AssetKey:
        """The only place that decides a key: dependencies follow it."""
        return dg.AssetKey(list(node.path))

    def group(self, node: Node) -> str:
        """The YAML's; else one group a pipeline. One for all sources, one for prompts and contexts."""
        if node.file and node.file.spec.group:
            return node.file.spec.group
        if node.pipeline:
            return identifier(node.pipeline)
        return "sources" if node.role == "source" else "prompts"

    def description(self, node: Node) -> str:
        """The YAML's description for what passes; a sentence for the rest."""
        own = node.file.spec.description if node.file else None
        return {
            "source": f"What is read: {node.uri}",
            "prompt": f"A prompt: {node.uri}. Its data version is its content.",
            "context": f"A context that prompts name: {node.uri}. Its data version is its content.",
            "transformed": own or f"Records of `{node.pipeline}` that passed the gate.",
            "quarantine": f"Records of `{node.pipeline}` that did not pass, whole, with the reason.",
            "loaded": f"What `{node.pipeline}` loads into {node.uri}",
            "broken": "This pipeline cannot run:\n\n"
            + "\n".join(f"- {problem}" for problem in node.problems),
        }[node.role]

    def kinds(self, node: Node) -> set[str]:
        """Tool, technique and storage, shown as icons, and the YAML's."""
        tools = {
            "transformed": {"loom", "llm"},
            "quarantine": {"loom"},
            "loaded": {"loom"},
            "broken": {"loom"},
        }
        own = node.file.spec.kinds if node.file else ()
        return {*tools.get(node.role, set()), node.kind, *own}

    def tags(self, node: Node) -> Mapping[str, str]:
        """For filtering in the UI: ours, and the YAML's."""
        tags = {**(node.file.spec.tags if node.file else {}), "loom/role": node.role}
        return tags | {"loom/pipeline": tag_value(node.pipeline)} if node.pipeline else tags

    def owners(self, node: Node) -> Sequence[str]:
        """The YAML's: e-mail addresses or `team:name`."""
        return node.file.spec.owners if node.file else ()

    def metadata(self, node: Node) -> Mapping[str, Any]:
        """The place as it was written, without secrets, and the line of the YAML."""
        found: dict[str, Any] = {"dagster/uri": node.uri, **code_reference(node)}
        if node.pipeline:
            found["loom/pipeline"] = node.pipeline
        if node.file and node.file.spec.version:
            found["loom/version"] = node.file.spec.version
        return found

    def code_version(self, node: Node) -> str | None:
        """Made of prompt, contexts, model, parameters and evaluators."""
        return node.code_version

    def automation_condition(self, node: Node) -> dg.AutomationCondition[dg.AssetKey] | None:
        """None: nothing runs by itself."""
        return None

    def asset_spec(self, node: Node, deps: Sequence[Node]) -> dg.AssetSpec:
        """All of the above. An override may replace attributes, but not the key."""
        return dg.AssetSpec(
            self.key(node),
            deps=[self.key(dep) for dep in deps],
            description=self.description(node),
            metadata=self.metadata(node),
            group_name=self.group(node),
            code_version=self.code_version(node),
            automation_condition=self.automation_condition(node),
            owners=self.owners(node),
            tags=self.tags(node),
            kinds=self.kinds(node),
        )

    def check_spec(self, check: Check, asset: dg.AssetKey) -> dg.AssetCheckSpec:
        """An override may change what is shown; name and blocking stay."""
        return dg.AssetCheckSpec(
            name=check.name, asset=asset, description=check.description, blocking=check.blocking
        )
