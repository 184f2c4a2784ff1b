"""A loom project as a component, with Dagster's own commands in a project as `create-dagster project` writes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from loom_dagster.assembly.first_project import STARTER, write_starter
from loom_dagster.assets.component import LoomProjectComponent

ROOT = Path(__file__).resolve().parents[2]
# Dagster rebuilds every check that a component brings, and warns of its own parameter
CLEAN = "error,ignore:Parameter `execution_type` of function `AssetsDefinition.__init__`"
PYDANTIC = "ignore:`parse_obj_as` is deprecated"  # Dagster reads every component's attributes with it
DEFS = {
    "pyproject.toml": '[project]\nname = "fresh"\nversion = "0.1.0"\n\n[tool.dg]\ndirectory_type = "project"\n\n'
    '[tool.dg.project]\nroot_module = "fresh"\nregistry_modules = ["fresh.components.*"]\n',
    "src/fresh/__init__.py": "",
    "src/fresh/defs/__init__.py": "",
    "src/fresh/definitions.py": "from pathlib import Path\n\nfrom dagster import definitions, load_from_defs_folder\n\n\n"
    "@definitions\ndef defs():\n    return load_from_defs_folder(path_within_project=Path(__file__).parent)\n",
}


@dataclass
class Fresh:
    """A new project of `dg`, and loom_dagster as installed: its entry points are those of pyproject.toml."""

    root: Path
    installed: Path

    def dg(self, *args: str, warnings: str = CLEAN) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DG_", "DAGSTER_"))}
        paths = (ROOT, self.installed, self.root / "src")
        return subprocess.run(
            [sys.executable, "-W", "default", "-c", "from dagster_dg_cli.cli import main; main()", *args],
            cwd=self.root,
            env={**kept, "PYTHONPATH": ":".join(map(str, paths)), "PYTHONWARNINGS": warnings, "COLUMNS": "300",
                 "DG_CLI_CONFIG": str(self.installed / "dg.toml"), "DAGSTER_DISABLE_TELEMETRY": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )  # fmt: skip


@pytest.fixture
def fresh(tmp_path: Path) -> Fresh:
    root, installed = tmp_path / "fresh", tmp_path / "installed"
    for name, text in DEFS.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    info = installed / "loom_entry_points-1.dist-info"
    info.mkdir(parents=True)
    (installed / "dg.toml").write_text("[cli.telemetry]\nenabled = false\n", encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loom-entry-points\nVersion: 1\n")
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in found.items()) for group, found in groups.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return Fresh(root, installed)


@pytest.mark.slow
def test_scaffold_check_and_list_in_a_fresh_project(fresh: Fresh) -> None:
    listed = fresh.dg("list", "components")
    assert "loom_dagster.LoomProjectComponent" in listed.stdout, listed.stderr
    made = fresh.dg("scaffold", "defs", "loom_dagster.LoomProjectComponent", "my_loom")
    assert made.returncode == 0, made.stdout + made.stderr
    assert (fresh.root / "my_loom" / "pipelines" / "example.yaml").exists()
    assert not (fresh.root / "my_loom" / "definitions.py").exists()

    defs_yaml = fresh.root / "src/fresh/defs/my_loom/defs.yaml"
    words = "  translation: {group_name: support, tags: {tier: gold}}\n"
    defs_yaml.write_text(defs_yaml.read_text("utf-8") + words, encoding="utf-8")
    for command in ("yaml", "defs"):
        checked = fresh.dg("check", command)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "Warning" not in checked.stdout + checked.stderr
    found = json.loads(fresh.dg("list", "defs", "--json").stdout)
    assert {each["asset_key"]: each["group_name"] for each in found["assets"]} == {
        "context/teams": "support",
        "example/quarantine": "support",
        "example/transformed": "support",
        "file/data/out/routed.csv": "support",
        "file/data/tickets.csv": "support",
        "prompts/route_ticket": "support",
    }
    assert [each["name"] for each in found["jobs"]] == ["example"]

    defs_yaml.write_text(
        "type: loom_dagster.LoomProjectComponent\nattributes: {projct: x}\n", encoding="utf-8"
    )
    refused = fresh.dg("check", "yaml")
    assert refused.returncode == 1
    assert "projct" in refused.stdout + refused.stderr


@pytest.mark.slow
def test_definitions_of_ones_own_are_checked_without_a_warning(fresh: Fresh) -> None:
    write_starter(fresh.root / "loom", "loom", [name for name in STARTER if name != "definitions.py"])
    (fresh.root / "src/fresh/definitions.py").write_text(
        "from pathlib import Path\n\nimport dagster as dg\n\nfrom loom_dagster import build_definitions\n\n\n"
        "@dg.asset\ndef mine() -> None: ...\n\n\n"
        "defs = dg.Definitions.merge(\n"
        "    build_definitions(Path(__file__).parents[2] / 'loom'), dg.Definitions(assets=[mine])\n)\n",
        encoding="utf-8",
    )
    checked = fresh.dg("check", "defs", warnings="error")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "Warning" not in checked.stdout + checked.stderr


def component(desk: Any, **attributes: Any) -> dg.Definitions:
    made = LoomProjectComponent.resolve_from_dict({"project": str(desk.root), **attributes})
    return made.build_defs(dg.ComponentTree.for_test().load_context)


@pytest.mark.filterwarnings(PYDANTIC)
def test_translation_overrides_what_it_names_and_dependencies_follow_the_key(desk: Any) -> None:
    desk.write("first", description="What people say")
    desk.write("second", source="pipeline://first")
    translation = {
        "key_prefix": "ours",
        "group_name": "of_{{ pipeline or 'sources' }}",
        "owners": ["team:reviews"],
        "description": "{{ role }}: {{ spec.description }}",
        "tags": {"tier": "gold"},
    }
    defs = component(desk, translation=translation)
    found = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    first, second = found["ours/first/transformed"], found["ours/second/transformed"]
    assert [dep.asset_key.to_user_string() for dep in second.deps] == [
        "ours/first/transformed",
        "ours/prompts/p",
    ]
    assert (first.group_name, list(first.owners)) == ("of_first", ["team:reviews"])
    assert first.description == "transformed: What people say"
    assert {"tier": "gold", "loom/role": "transformed"}.items() <= first.tags.items()
    assert found["ours/file/data/in.csv"].group_name == "of_sources"


@pytest.mark.filterwarnings(PYDANTIC)
def test_select_takes_pipelines_by_name_or_tag(desk: Any) -> None:
    desk.write("a", labels="tags: [nightly]\n")
    desk.write("b")
    desk.write("c", source="pipeline://b")
    jobs = {job.name for job in component(desk, select=["tag:nightly", "c"]).jobs}
    assert jobs == {"a", "c", "tag_nightly"}
    with pytest.raises(Exception, match=r"`tag:nightli` selects no pipeline.*tag:nightly"):
        component(desk, select=["tag:nightli"])
