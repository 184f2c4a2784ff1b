import json
import subprocess
import sys

import pytest

from loom_dagster.cli import exits
from loom_dagster.cli.main import app, run_cli
from loom_dagster.cli.options import AsJson
from loom_dagster.errors import Misconfigured, Outage, Permanent, Problem


@pytest.fixture
def failing():
    """A command that raises what it is given, for as long as the test lasts."""
    given = {}

    def fail(as_json: AsJson = False) -> int:
        raise given["error"]

    app.command("fail")(fail)

    def run(error, *args):
        given["error"] = error
        return run_cli(["fail", *args])

    yield run
    app.registered_commands.pop()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


PROBLEMS = (
    Problem(what="unknown key `modle`", where="pipelines/a.yaml:7", fix="did you mean `model`?"),
    Problem(what="`input.txt` is no column", where="prompts/a.txt:3"),
    Problem(what="prompt is not locked", where="prompts/a.txt", level="warning"),
)


def test_every_problem_is_shown_with_its_place_and_fix(failing, capsys, monkeypatch):
    assert failing(Misconfigured("pipeline `a` cannot run", problems=PROBLEMS)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "Error: pipeline `a` cannot run",
        "  ❌ pipelines/a.yaml:7: unknown key `modle` (did you mean `model`?)",
        "  ❌ prompts/a.txt:3: `input.txt` is no column",
        "  ⚠  prompts/a.txt: prompt is not locked",
    ]


def test_one_problem_that_says_the_same_is_not_said_twice(failing, capsys):
    problem = Problem(what="no table", where="pyproject.toml", fix="add it")
    failing(Misconfigured("no table", where="pyproject.toml", fix="add it", problems=(problem,)))
    assert capsys.readouterr().err == "Error: pyproject.toml: no table (add it)\n"


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (Misconfigured("x"), 2, "misconfigured"),
        (Permanent("x"), 1, "permanent"),
        (Outage("x"), 1, "outage"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (RuntimeError("x"), 70, "bug"),
    ],
)
def test_the_class_of_an_error_decides_the_exit_code(failing, error, code, kind, capsys):
    assert failing(error) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err
    assert "Traceback" not in shown.err
    assert failing(error, "--json") == code
    shown = capsys.readouterr()
    assert shown.err == ""
    document = json.loads(shown.out)["error"]
    assert (document["kind"], document["exit_code"]) == (kind, code)


def test_json_carries_every_problem(failing, capsys):
    failing(Misconfigured("two problems", problems=PROBLEMS), "--json")
    problems = json.loads(capsys.readouterr().out)["error"]["problems"]
    assert problems[0] == {
        "level": "error",
        "where": "pipelines/a.yaml:7",
        "what": "unknown key `modle`",
        "fix": "did you mean `model`?",
    }
    assert [p["level"] for p in problems] == ["error", "error", "warning"]


def test_an_unexpected_error_is_one_sentence_and_a_file(failing, capsys, elsewhere):
    (elsewhere / "pyproject.toml").write_text("[tool.loom]\n")
    assert failing(ZeroDivisionError("division by zero\nmore")) == exits.CRASHED
    shown = capsys.readouterr().err
    assert "this is a bug in loom: ZeroDivisionError: division by zero" in shown
    [crash] = (elsewhere / ".loom").glob("crash-*.txt")
    assert str(crash) in shown
    assert "Traceback" in crash.read_text()
    assert crash.stat().st_mode & 0o077 == 0


def test_an_error_message_cannot_steer_the_terminal(failing, capsys):
    failing(Permanent("the row says \x1b[2J"))
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["rn"], "Did you mean 'run'?"),
        (["run", "--limti", "3"], "--limit"),
        (["run", "--limit", "0", "x"], "--limit"),
        (["release", "x"], "--why"),
        (["quarantine", "shw"], "show"),
    ],
)
def test_a_command_line_that_cannot_be_understood(args, words, capsys):
    assert run_cli(args) == 2
    assert words in capsys.readouterr().err
    assert run_cli([*args, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "usage"


def test_loom_alone_shows_its_help(capsys):
    assert run_cli([]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Usage: loom")
    assert "Error" not in shown


@pytest.mark.parametrize(
    "command", [["list"], ["run", "x"], ["validate"], ["quarantine", "list", "x"], ["ui"]]
)
def test_outside_a_project_a_command_says_what_to_do(command, capsys):
    assert run_cli(command) == 2
    assert "`loom init`" in " ".join(capsys.readouterr().err.split())


def test_a_project_that_is_not_there_is_not_looked_for_above(elsewhere, capsys):
    (elsewhere / "pyproject.toml").write_text("[tool.loom]\n")
    assert run_cli(["list", "--project", "typo"]) == 2
    assert "typo: no such folder" in capsys.readouterr().err


def test_help_imports_none_of_the_rooms_that_do_the_work():
    code = (
        "import sys\n"
        "from loom_dagster.cli.main import run_cli\n"
        "assert run_cli(['--help']) == 0\n"
        "heavy = 'rich pydantic pyarrow dagster sqlalchemy aiohttp litellm arbiter_ai pandas jinja2 yaml asyncio'.split()\n"
        "print([m for m in heavy if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    for command in (
        "run",
        "validate",
        "list",
        "init",
        "ui",
        "quarantine",
        "release",
        "prompts",
        "schema",
        "version",
    ):
        assert f"\n  {command} " in done.stdout


def test_every_command_has_help(capsys):
    for command in app.registered_commands:
        assert run_cli([command.name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "..." not in shown.replace("PIPELINE]...", "").replace("ID]...", "").replace(
        "NAME]...", ""
    ).replace("ID...", "")
    assert all(len(line) <= 80 for line in shown.splitlines())
