"""What README and docs say can be done: every command, every link, every example."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from loom_dagster.cli.main import run_cli
from loom_dagster.settings import load_settings
from loom_dagster.spec import load_project

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def loom_commands() -> list[str]:
    """`loom ...` lines of the docs, without their remarks."""
    lines = []
    for page in PAGES:
        if page.parent.name == "reference":
            continue  # made from the code
        for body in [*blocks(page, "bash"), *blocks(page, "")]:
            lines += [
                line.partition(" #")[0].strip() for line in body.splitlines() if line.startswith("loom ")
            ]
    return sorted(set(lines))


def test_every_make_target_that_is_named_exists():
    made = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {target for page in PAGES for target in re.findall(r"\bmake ([a-z]+)\b`?", code_of(page))}
    assert {"demo", "test"} <= named
    assert named <= made


def code_of(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    return "\n".join([*blocks(page, "bash"), *re.findall(r"`[^`\n]+`", BLOCK.sub("", text))])


def test_every_make_target_explains_itself():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split()
    assert [target for target in phony if not re.search(rf"^{target}:.* ## \w", makefile, re.MULTILINE)] == []


@pytest.mark.parametrize("command", loom_commands())
def test_every_command_in_the_docs_is_one(command):
    import shlex

    import typer

    from loom_dagster.cli.main import app

    node, words, context = typer.main.get_command(app), shlex.split(command)[1:], None
    while hasattr(node, "commands"):
        assert words and words[0] in node.commands, f"`{command}`: no such command"
        node, words = node.commands[words[0]], words[1:]
    context = node.make_context(node.name, list(words))
    assert context.command is node


def test_every_link_leads_somewhere():
    broken = []
    for page in PAGES:
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            if not target.startswith("https://") and not (page.parent / target).resolve().exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken


def test_the_pipeline_in_the_readme_loads_and_its_tests_pass(tmp_path, capsys):
    pipeline, tests, more = blocks(ROOT / "README.md", "yaml")
    example = pipeline + more
    for folder in ("prompts", "context", "data"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("out"))
    (tmp_path / "pyproject.toml").write_text('[tool.loom.channels.data]\ntype = "slack"\n', encoding="utf-8")
    path = tmp_path / "pipelines" / "customer_sentiment.yaml"
    path.parent.mkdir()
    path.write_text(example, encoding="utf-8")

    project = load_project(load_settings(tmp_path, {}))

    assert [str(problem) for problem in project.problems] == []
    spec = project.pipeline("customer_sentiment").spec
    assert spec.trigger is not None and spec.monitoring.alerts
    assert spec.evaluate.batch_threshold == 0.9
    assert [e.name for e in spec.evaluate.evaluators] == ["agrees_with_label", "quality_criteria"]

    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "customer_sentiment_test.yaml").write_text(tests, encoding="utf-8")
    assert run_cli(["test", "customer_sentiment", "--offline", "--project", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "obvious_positive" in shown
    assert "mean(evaluation_scores) > 0.75" in shown


def test_the_code_location_in_the_docs_is_the_one_of_this_project():
    ours = [
        line
        for line in (ROOT / "definitions.py").read_text("utf-8").splitlines()
        if line and '"""' not in line
    ]
    for page in (ROOT / "README.md", ROOT / "docs" / "dagster.md"):
        example, *_ = blocks(page, "python")
        assert [line for line in example.splitlines() if line] == ours
