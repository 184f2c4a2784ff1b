import json
import tomllib

import pytest

from loom_dagster.assembly.first_project import STARTER
from loom_dagster.cli.init import project_name
from loom_dagster.cli.main import run_cli
from loom_dagster.settings import find_project


def test_it_writes_a_project(tmp_path, capsys):
    folder = tmp_path / "My Project"
    assert run_cli(["init", str(folder)]) == 0
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == set(STARTER)
    assert find_project(folder) == folder.resolve()
    assert tomllib.loads((folder / "pyproject.toml").read_text())["project"]["name"] == "my-project"
    shown = capsys.readouterr().out
    assert "loom run example" in shown
    assert f"cd {folder}" in shown


def test_its_prompts_are_locked_as_they_are(tmp_path, capsys):
    run_cli(["init", str(tmp_path)])
    capsys.readouterr()
    assert run_cli(["prompts", "lock", "--project", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changed"] == []


def test_it_never_overwrites_and_lists_what_it_kept(tmp_path, capsys):
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / ".gitignore").symlink_to("nowhere")
    assert run_cli(["init", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kept"] == ["README.md", ".gitignore"]
    assert (tmp_path / "README.md").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
    assert run_cli(["init", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == []


def test_an_existing_pyproject_is_left_alone_and_told_what_to_add(tmp_path, capsys):
    mine = '[project]\nname = "mine"\n'
    (tmp_path / "pyproject.toml").write_text(mine)
    assert run_cli(["init", str(tmp_path)]) == 0
    assert (tmp_path / "pyproject.toml").read_text() == mine
    assert "[tool.loom]" in capsys.readouterr().out
    (tmp_path / "pyproject.toml").write_text("[tool.loom]\n")
    assert run_cli(["init", str(tmp_path)]) == 0
    assert "[tool.loom]" not in capsys.readouterr().out


def test_a_file_where_a_folder_should_be(tmp_path, capsys):
    (tmp_path / "data").write_text("")
    assert run_cli(["init", str(tmp_path)]) == 2
    assert "in the way" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "name"), [("My Project!", "my-project"), ("日本", "my-loom-project"), ("a.b_c-1", "a.b_c-1")]
)
def test_names_fit_packaging(text, name):
    assert project_name(text) == name
