"""Every attribute can be overridden, one test each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from loom_dagster.assets import Check, LoomTranslator, Node, build_definitions


def specs(desk: Any, translator: LoomTranslator | None = None) -> dict[str, dg.AssetSpec]:
    desk.write("p", description="What people say")
    return specs_of(desk, translator)


def specs_of(desk: Any, translator: LoomTranslator | None) -> dict[str, dg.AssetSpec]:
    defs = desk.definitions(desk.loom(), translator=translator)
    by_key = {spec.key: spec for spec in defs.resolve_all_asset_specs()}
    roles = {spec.tags["loom/role"]: spec for spec in by_key.values() if "loom/role" in spec.tags}
    return roles or {spec.key.to_user_string(): spec for spec in by_key.values()}


def test_defaults(desk: Any) -> None:
    found = specs(desk)
    assert {role: spec.key.to_user_string() for role, spec in found.items()} == {
        "source": "file/data/in.csv",
        "transformed": "p/transformed",
        "quarantine": "p/quarantine",
        "loaded": "file/data/out/p.parquet",
    }
    assert {role: spec.group_name for role, spec in found.items()} == {
        "source": "sources", "transformed": "p", "quarantine": "p", "loaded": "p",
    }  # fmt: skip
    assert found["transformed"].description == "What people say"
    assert found["transformed"].kinds == {"loom", "llm", "parquet"}
    assert found["source"].kinds == {"csv"}
    assert found["transformed"].code_version == "code-of-p"
    assert found["source"].metadata["dagster/uri"] == "data/in.csv"
    assert found["loaded"].metadata["dagster/uri"] == "data/out/p.parquet"
    assert found["transformed"].metadata["loom/version"] == "1.0.0"


@pytest.mark.parametrize(
    ("role", "line"), [("transformed", "transform:"), ("quarantine", "evaluate:"), ("loaded", "load:")]
)
def test_a_link_to_the_line_of_the_yaml(desk: Any, role: str, line: str) -> None:
    (reference,) = specs(desk)[role].metadata["dagster/code_references"].code_references
    lines = (desk.root / "pipelines" / "p.yaml").read_text().splitlines()
    assert reference.file_path == str(desk.root / "pipelines" / "p.yaml")
    assert lines[reference.line_number - 1].startswith(line)


def test_a_link_to_the_prompt_and_each_context(desk: Any) -> None:
    (desk.root / "context").mkdir()
    (desk.root / "context" / "domain.md").write_text("About words.\n")
    (desk.root / "prompts" / "p.txt").write_text("{{ context.domain }} Say something of {{ input.text }}\n")
    desk.write("p")
    defs = build_definitions(desk.root)
    spec = next(s for s in defs.resolve_all_asset_specs() if s.key.to_user_string() == "p/transformed")
    references = spec.metadata["dagster/code_references"].code_references
    assert [Path(r.file_path).relative_to(desk.root).as_posix() for r in references] == [
        "pipelines/p.yaml",
        "prompts/p.txt",
        "context/domain.md",
    ]
    assert all(Path(r.file_path).is_absolute() for r in references)


def test_what_the_yaml_says_of_itself_is_on_every_asset_of_the_pipeline(desk: Any) -> None:
    labels = "tags: {team: reviews, nightly: }\nowners: [team:reviews]\ngroup: feedback\nkinds: [gold]\n"
    desk.write("p", labels=labels)
    found = specs_of(desk, None)
    for role in ("transformed", "quarantine", "loaded"):
        spec = found[role]
        assert {"team": "reviews", "nightly": ""}.items() <= spec.tags.items()
        assert (list(spec.owners), spec.group_name) == (["team:reviews"], "feedback")
        assert "gold" in spec.kinds
    assert found["source"].group_name == "sources"


def test_key_and_what_depends_on_it(desk: Any) -> None:
    class Ours(LoomTranslator):
        def key(self, node: Node) -> dg.AssetKey:
            return super().key(node).with_prefix("ours")

    desk.write("q", source="pipeline://p")
    found = {s.key.to_user_string(): s for s in _all(desk, Ours())}
    assert [d.asset_key.to_user_string() for d in found["ours/q/transformed"].deps] == ["ours/p/transformed"]
    ran = desk.run(desk.definitions(desk.loom(), translator=Ours()))
    assert ran.ok, ran.failures
    assert "ours/p/quarantine" in ran.materialized


def _all(desk: Any, translator: LoomTranslator) -> Sequence[dg.AssetSpec]:
    desk.write("p")
    return list(desk.definitions(desk.loom(), translator=translator).resolve_all_asset_specs())


def test_group(desk: Any) -> None:
    class Ours(LoomTranslator):
        def group(self, node: Node) -> str:
            return "everything"

    assert {spec.group_name for spec in specs(desk, Ours()).values()} == {"everything"}


def test_description(desk: Any) -> None:
    class Ours(LoomTranslator):
        def description(self, node: Node) -> str:
            return f"{node.role}: {super().description(node)}"

    assert specs(desk, Ours())["transformed"].description == "transformed: What people say"


def test_kinds(desk: Any) -> None:
    class Ours(LoomTranslator):
        def kinds(self, node: Node) -> set[str]:
            return {"gold"} if node.role == "loaded" else super().kinds(node)

    assert specs(desk, Ours())["loaded"].kinds == {"gold"}


def test_tags(desk: Any) -> None:
    class Ours(LoomTranslator):
        def tags(self, node: Node) -> Mapping[str, str]:
            return {**super().tags(node), "team": "reviews"}

    assert specs(desk, Ours())["quarantine"].tags["team"] == "reviews"


def test_owners(desk: Any) -> None:
    class Ours(LoomTranslator):
        def owners(self, node: Node) -> Sequence[str]:
            return ["team:reviews"]

    assert specs(desk, Ours())["transformed"].owners == ["team:reviews"]


def test_metadata(desk: Any) -> None:
    class Ours(LoomTranslator):
        def metadata(self, node: Node) -> Mapping[str, Any]:
            return {"cost_center": 12}

    assert specs(desk, Ours())["source"].metadata["cost_center"] == 12


def test_code_version(desk: Any) -> None:
    class Ours(LoomTranslator):
        def code_version(self, node: Node) -> str:
            return "v9"

    assert specs(desk, Ours())["loaded"].code_version == "v9"


def test_automation_condition(desk: Any) -> None:
    class Ours(LoomTranslator):
        def automation_condition(self, node: Node) -> dg.AutomationCondition[dg.AssetKey] | None:
            return dg.AutomationCondition.on_cron("@daily") if node.role == "transformed" else None

    assert specs(desk, Ours())["transformed"].automation_condition is not None


def test_the_whole_spec(desk: Any) -> None:
    class Ours(LoomTranslator):
        def asset_spec(self, node: Node, deps: Sequence[Node]) -> dg.AssetSpec:
            return super().asset_spec(node, deps).merge_attributes(deps=["calendar"])

    deps = {d.asset_key.to_user_string() for d in specs(desk, Ours())["transformed"].deps}
    assert deps == {"file/data/in.csv", "calendar"}


def test_check_spec(desk: Any) -> None:
    class Ours(LoomTranslator):
        def check_spec(self, check: Check, asset: dg.AssetKey) -> dg.AssetCheckSpec:
            return super().check_spec(check, asset)._replace(metadata={"runbook": "https://example.org"})

    desk.write("p")
    defs = desk.definitions(desk.loom(), translator=Ours())
    found = [spec for checks in defs.asset_checks for spec in checks.check_specs]
    assert {spec.metadata["runbook"] for spec in found} == {"https://example.org"}


def test_what_releases_depend_on_cannot_be_taken_away(desk: Any) -> None:
    class NoGate(LoomTranslator):
        def check_spec(self, check: Check, asset: dg.AssetKey) -> dg.AssetCheckSpec:
            return dg.AssetCheckSpec(name=check.name, asset=asset, blocking=False)

    class OtherKey(LoomTranslator):
        def asset_spec(self, node: Node, deps: Sequence[Node]) -> dg.AssetSpec:
            return super().asset_spec(node, deps).replace_attributes(key=["x", *node.path])

    class NoDeps(LoomTranslator):
        def asset_spec(self, node: Node, deps: Sequence[Node]) -> dg.AssetSpec:
            return super().asset_spec(node, [])

    class OneKey(LoomTranslator):
        def key(self, node: Node) -> dg.AssetKey:
            return dg.AssetKey("one")

    for translator, said in [
        (NoGate(), "changed name, asset or blocking"),
        (OtherKey(), "override key"),
        (NoDeps(), "takes a dependency away"),
        (OneKey(), "to two assets"),
    ]:
        with pytest.raises(dg.DagsterInvalidDefinitionError, match=said):
            _all(desk, translator)
