"""`loom clean`: what it says, what it asks, and what it refuses."""

from __future__ import annotations

import json

import pytest

from loom_dagster.cli.main import run_cli
from tests.journeys.project import Project


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path / "project")
    made.reviews({"r1": "text"})
    made.pipeline()
    return made


@pytest.fixture
def loom(project, capsys):
    def call(*args):
        code = run_cli([*args, "--project", str(project.root)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--older-than", "30"), "`30` is not a duration"),
        (("--older-than", "soon"), "30m, 2h, 7d"),
        (("--older-than", "0d"), "is everything"),
        (
            ("--older-than", "30d", "--what", "answers,runns", "--yes"),
            "there are: snapshots, answers, runs, scratch",
        ),
        (("--older-than", "30d"), "say --yes"),
        (("clasify", "--older-than", "30d", "--yes"), "classify"),
        ((), "--older-than"),
    ],
)
def test_what_is_not_clear_is_refused(loom, args, said):
    code, _, err = loom("clean", *args)
    assert (code, said in err) == (2, True), err


def test_nothing_to_remove_is_fine(loom):
    code, out, _ = loom("clean", "--older-than", "9999999d", "--yes")
    assert code == 2  # before there was time
    code, out, _ = loom("clean", "--older-than", "30d", "--yes")
    assert (code, "Nothing to remove is older than 30d" in out) == (0, True)


def test_it_shows_what_would_go_and_then_what_went(loom):
    assert loom("run", "classify", "--direct")[0] == 0
    code, out, _ = loom("clean", "--older-than", "0.001s", "--dry-run")
    assert code == 0
    assert "answers" in out
    code, out, _ = loom("clean", "--older-than", "0.001s", "--what", "answers", "--yes", "--json")
    told = json.loads(out)
    assert (told["removed"], [(p["what"], p["number"]) for p in told["parts"]]) == (True, [("answers", 1)])
    code, out, _ = loom("audit", "--action", "clean", "--json")
    [entry] = json.loads(out)["entries"]
    assert (entry["why"], entry["subject"]) == ("older than 0.001s", "answers")


@pytest.mark.parametrize(("answer", "stay"), [("n\n", 1), ("y\n", 0)])
def test_on_a_terminal_it_asks_first(loom, monkeypatch, answer, stay):
    import io

    class Keyboard(io.StringIO):
        def isatty(self):
            return True

    loom("run", "classify", "--direct")
    monkeypatch.setattr("sys.stdin", Keyboard(answer))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    code, out, _ = loom("clean", "--older-than", "0.001s", "--what", "answers")
    monkeypatch.undo()
    assert code == 0
    assert ("Nothing was removed" in out) == bool(stay)
    assert json.loads(loom("answers", "--json")[1])["answers"] == stay
