"""The project that `loom init` writes, used with every command. Offline: nothing is called."""

import csv
import json
import os
import signal
import subprocess
import sys

import pytest

from loom_dagster.cli.main import run_cli


@pytest.fixture
def loom(tmp_path, monkeypatch, capsys):
    """Runs a command in a fresh starter project: (exit code, stdout, stderr)."""
    for name in [n for n in os.environ if n.startswith(("LOOM_", "DAGSTER_")) or n == "CI"]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    run_cli(["init"])
    capsys.readouterr()

    def command(*args):
        code = run_cli(args)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return command


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def document(result):
    return json.loads(result[1])


def test_it_is_valid_and_strictly_so(loom):
    code, out, _ = loom("validate", "--strict", "--connections")
    assert code == 0
    for section in ("Pipeline Definition:", "Prompts:", "Context:", "Evaluators:", "Source:", "Destination:"):
        assert section in out
    assert out.rstrip().endswith("Pipeline is valid ✅")
    assert document(loom("validate", "--json"))["valid"] is True


def test_a_direct_run_shows_the_summary_and_loads(loom, tmp_path):
    code, out, err = loom("run", "example", "--direct")
    assert code == 0
    for part in (
        "simulated answers: offline/demo",
        "12 records",
        "9 passed, 3 rejected",
        "✅ Pipeline completed",
    ):
        assert part in out
    assert "evaluate: right_team  e.g. T-" in out
    assert "example (v1.0.0): running" in err
    assert "running" not in out
    with (tmp_path / "data/out/routed.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 9


def test_through_dagster_it_is_the_same(loom):
    code, out, _ = loom("run", "example", "--json")
    [run] = json.loads(out)["runs"]
    assert (code, run["status"], run["counts"]["passed"], run["load"]["rows"]) == (0, "succeeded", 9, 9)


def test_json_is_alone_on_stdout(loom):
    code, out, err = loom("run", "--all", "--direct", "--json")
    found = json.loads(out)
    assert (code, found["exit_code"], found["runs"][0]["pipeline"]) == (0, 0, "example")
    assert err


def test_a_trial_is_called_one_and_loads_nothing(loom, tmp_path):
    code, out, _ = loom("run", "example", "--direct", "--limit", "3")
    assert code == 0
    assert "Trial completed" in out
    assert not (tmp_path / "data/out").exists()
    assert document(loom("list", "--json"))["pipelines"][0]["status"] == "never run"


def test_the_list_tells_how_each_last_ended(loom, tmp_path):
    assert "never run" in loom("list")[1]
    loom("run", "example", "--direct")
    [found] = document(loom("list", "--json"))["pipelines"]
    assert (found["status"], found["held"], found["pass_rate"]) == ("succeeded", False, 0.75)
    (tmp_path / "pipelines/odd.yaml").write_text("name: odd\n")
    code, out, _ = loom("list")
    assert code == 0
    assert "invalid" in out
    assert "pipelines/odd.yaml" in out


def test_a_held_batch_is_released_by_a_person_and_loaded(loom, tmp_path):
    edit(tmp_path / "pipelines/example.yaml", "batch_threshold: 0.5", "batch_threshold: 0.9")
    code, out, _ = loom("run", "example", "--direct")
    assert code == 1
    assert "❌ Held" in out
    assert "loom release example" in out
    assert not (tmp_path / "data/out").exists()
    assert document(loom("list", "--json"))["pipelines"][0]["held"] is True
    assert loom("release", "example", "--why", " ")[0] == 2
    code, out, _ = loom("release", "example", "--why", "looked at it")
    assert code == 0
    assert "9 loaded into data/out/routed.csv" in out
    assert document(loom("list", "--json"))["pipelines"][0]["status"] == "released"
    code, _, err = loom("release", "example", "--why", "again")
    assert code == 2
    assert "held" in err


def test_release_without_loading(loom, tmp_path):
    edit(tmp_path / "pipelines/example.yaml", "batch_threshold: 0.5", "batch_threshold: 0.9")
    loom("run", "example", "--direct")
    found = document(loom("release", "example", "--why", "later", "--no-load", "--json"))
    assert (found["why"], found["load"]) == ("later", None)
    assert not (tmp_path / "data/out").exists()


def test_quarantine_from_list_to_resolved(loom):
    loom("run", "example", "--direct")
    records = document(loom("quarantine", "list", "example", "--json"))["records"]
    ids = [r["record_id"] for r in records]
    assert len(ids) == 3
    assert document(loom("quarantine", "list", "example", "--stage", "extract", "--json"))["total"] == 0
    assert document(loom("quarantine", "list", "example", "--kind", "gate_failed", "--json"))["total"] == 3
    code, out, _ = loom("quarantine", "show", "example", ids[0])
    assert code == 0
    for part in (
        ids[0],
        "ticket:",
        "expected_team:",
        "❌ right_team: 0.00 < 1.00",
        "Raw answer:",
        '{"team":',
        "v1.0.0",
    ):
        assert part in out
    whole = document(loom("quarantine", "show", "example", ids[0], "--json"))["record"]
    assert whole["source"]["id"] == ids[0]
    assert whole["scores"][0]["name"] == "right_team"
    assert loom("quarantine", "resolve", "example", ids[0], "--why", "spoken to")[0] == 0
    left = document(loom("quarantine", "list", "example", "--json"))["records"]
    assert [r["record_id"] for r in left] == ids[1:]
    assert document(loom("quarantine", "list", "example", "--all", "--json"))["total"] == 3


def test_a_retry_asks_for_the_quarantined_ones_only(loom):
    loom("run", "example", "--direct")
    code, out, _ = loom("quarantine", "retry", "example", "--all", "--json")
    [run] = json.loads(out)["runs"]
    assert code == run["exit_code"]
    assert run["spending"]["calls"] == 3


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("run", "exmple"), "did you mean `example`?"),
        (("run",), "name a pipeline or say --all"),
        (("run", "example", "--all"), "not both"),
        (("run", "example", "--param", "day"), "KEY=VALUE"),
        (("validate", "exmple"), "did you mean `example`?"),
        (("quarantine", "list", "exmple"), "did you mean `example`?"),
        (("quarantine", "show", "example", "T-99"), "not in the quarantine"),
        (("quarantine", "retry", "example"), "name records or say --all"),
        (("release", "example", "--why", "x"), "run it first"),
    ],
)
def test_wrong_input_has_its_sentence_and_exit_code(loom, args, words):
    code, out, err = loom(*args)
    assert code == 2
    assert out == "" or args[0] == "validate"
    assert words in out + err


def test_a_file_with_problems_shows_all_of_them_with_their_lines(loom, tmp_path):
    path = tmp_path / "pipelines/example.yaml"
    edit(path, "  key: id", "  kee: id")
    edit(path, "  mode: upsert", "  mode: upsrt")
    code, out, _ = loom("validate", "example")
    assert code == 2
    assert "did you mean `key`?" in out
    assert "upsrt" in out
    lines = path.read_text().splitlines()
    for wrong in ("  kee: id", "  mode: upsrt"):
        assert f"pipelines/example.yaml:{lines.index(wrong) + 1}:" in out
    problems = document(loom("validate", "--json"))["pipelines"][0]["problems"]
    assert len([p for p in problems if p["level"] == "error"]) == 2


def test_the_schema_is_json_schema(loom, tmp_path):
    assert "properties" in document(loom("schema"))
    assert loom("schema", "--out", "pipeline.schema.json")[0] == 0
    assert json.loads((tmp_path / "pipeline.schema.json").read_text())
    code, _, err = loom("schema", "--out", "nowhere/x.json")
    assert code == 2
    assert "nowhere" in err


def test_a_reader_that_goes_away_does_not_end_the_run(loom, tmp_path):
    run = f"{sys.executable} -m loom_dagster.cli.main run example --direct"
    done = subprocess.run(
        ["bash", "-c", f"{run} 2>&1 | true; exit ${{PIPESTATUS[0]}}"], capture_output=True, check=False
    )
    assert done.returncode == 0
    assert (tmp_path / "data/out/routed.csv").exists()


def test_an_interrupted_run_says_that_it_can_be_continued(loom, tmp_path):
    rows = "".join(f"X-{n},I want a refund of the invoice,billing\n" for n in range(200_000))
    (tmp_path / "data/tickets.csv").write_text("id,ticket,expected_team\n" + rows)
    command = [sys.executable, "-m", "loom_dagster.cli.main", "run", "example", "--direct"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "running" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "press again to stop at once" in err
    assert "The run can be continued" in out
    assert document(loom("list", "--json"))["pipelines"][0]["status"] == "interrupted"
