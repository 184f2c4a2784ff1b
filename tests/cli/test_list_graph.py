"""`loom list --graph`: sources, pipelines and destinations, each once, and what reads what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loom_dagster.cli.main import run_cli

PIPELINE = "name: {name}\nextract: {{source: '{source}', key: id}}\ntransform: {{prompt: p}}\nload: {{destination: '{to}', schema: {{x: string}}}}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("[tool.loom]\n", encoding="utf-8")
    folder = tmp_path / "pipelines"
    folder.mkdir()
    for name, source, to in (
        ("first", "in.csv", "out/first.csv"),
        ("second", "./out//first.csv", "postgres://db"),
        ("third", "postgres://db/second", "out/third.csv"),
        ("fourth", "pipeline://first", "out/fourth.csv"),
        ("own", "table.csv", "table.csv"),
        ("a", "pipeline://b", "out/a.csv"),
        ("b", "pipeline://a", "out/b.csv"),
    ):
        (folder / f"{name}.yaml").write_text(
            PIPELINE.format(name=name, source=source, to=to), encoding="utf-8"
        )
    return tmp_path


def test_the_tree_goes_from_sources_to_destinations(project, capsys):
    assert run_cli(["list", "--graph", "--project", str(project)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "! a (cannot run: loom validate)",
        "! b (cannot run: loom validate)",
        "in.csv",
        "  ● first",
        "    out/first.csv",
        "      ● second",
        "        postgres://db",
        "          ● third",
        "            out/third.csv",
        "    ● fourth",
        "      out/fourth.csv",
        "● own",
        "  table.csv",
        "    ● own (see above)",
    ]


def test_as_json_it_has_nodes_and_edges(project, capsys):
    assert run_cli(["list", "--graph", "--json", "--project", str(project)]) == 0
    found = json.loads(capsys.readouterr().out)
    kinds = {node["id"]: node["kind"] for node in found["nodes"]}
    assert kinds["in.csv"] == "source"
    assert kinds["out/first.csv"] == kinds["postgres://db/second"] == "destination"
    assert kinds["pipeline://a"] == "invalid"
    edges = {(edge["from"], edge["to"]) for edge in found["edges"]}
    assert {
        ("in.csv", "pipeline://first"),
        ("out/first.csv", "pipeline://second"),
        ("pipeline://second", "postgres://db/second"),
        ("postgres://db/second", "pipeline://third"),
        ("pipeline://first", "pipeline://fourth"),
    } <= edges


def test_as_mermaid_it_fits_a_markdown_page(project, capsys):
    assert run_cli(["list", "--format", "mermaid", "--project", str(project)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "flowchart LR"
    names = {line.split("[")[0].strip(): line for line in lines if "[" in line}
    first, reads = (next(k for k, v in names.items() if f'"{n}"' in v) for n in ("first", "in.csv"))
    assert f"  {reads} --> {first}" in lines
