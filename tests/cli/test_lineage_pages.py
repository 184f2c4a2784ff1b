"""`loom lineage`: what it prints, what goes together, and what it says when it cannot."""

from __future__ import annotations

import json
import subprocess

import pytest

from loom_dagster.cli.main import run_cli
from tests.journeys.project import Project


@pytest.fixture
def shop(tmp_path):
    shop = Project(tmp_path / "shop")
    shop.write(
        "prompts/classify.txt", "---\nversion: v1\n---\n{{ context.rules }}\nReview: {{ input.text }}\n"
    )
    shop.write("context/rules.md", "---\nversion: r1\n---\nBe fair.\n")
    shop.write("data/reviews.csv", "id,text,label\nr0,\x1b[31mred,positive\nr1,fine,nothing\n")
    shop.pipeline(
        version="2.1.0",
        extract={"source": "data/reviews.csv", "key": "id"},
        evaluate={"evaluators": [
            {"name": "said", "type": "regex", "field": "sentiment", "pattern": "...."},
            {"name": "agrees", "type": "exact_match", "field": "sentiment", "reference_field": "label"},
        ]},
    )  # fmt: skip
    shop.pipeline("insights", version="1.2.0", extract={"source": "pipeline://classify", "key": "id"})
    return shop


@pytest.fixture
def loom(shop, capsys):
    def loom(*args):
        capsys.readouterr()
        code = run_cli([*args, "--project", str(shop.root)])
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return code, told.out, told.err

    return loom


@pytest.fixture
def run(loom):
    _, out, _ = loom("run", "classify", "--direct", "--json")
    return json.loads(out)["runs"][0]["run_id"]


def test_the_page_of_a_pipeline_is_the_one_of_the_seed(loom):
    code, out, _ = loom("lineage", "classify")
    assert code == 0
    assert out.splitlines() == [
        "Pipeline: classify (v2.1.0)",
        "Last Run: never",
        "",
        "Lineage:",
        "  Prompt:  prompts/classify.txt (v1)",
        "  Model:   offline/demo",
        "  Context:",
        "    - context/rules.md (r1)",
        "",
        "Inputs:",
        "  - data/reviews.csv",
        "",
        "Outputs:",
        "  - out/classify.parquet (upsert)",
        "",
        "Evaluators:",
        "  - said (local: regex >= 1)",
        "  - agrees (local: exact_match >= 1)",
        "",
        "Dependencies:",
        "  Upstream:   None",
        "  Downstream: insights (v1.2.0)",
    ]
    assert "Upstream:   classify (v2.1.0)" in loom("lineage", "insights")[1]


def test_a_run_and_a_record_have_their_pages(loom, run):
    code, out, _ = loom("lineage", "classify", "--run", run)
    assert code == 0
    for words in (run, "2 extracted", "v1", "r1", "offline/demo as transform", "agrees", "by gate"):
        assert words in out
    code, out, _ = loom("lineage", "classify", "--record", "r1")
    assert code == 0
    for words in ("quarantined", "text: fine", "Be fair.", "Review: fine", "verified", "agrees 0.00 < 1.00"):
        assert words in out
    assert "\x1b" not in loom("lineage", "classify", "--record", "r0")[1]


def test_json_is_one_document(loom, run):
    for args, name in (
        ((), "classify"),
        (("--run", run), "classify"),
        (("--record", "r1"), "classify"),
        (("--record", "r1", "--run", run), "classify"),
    ):
        for form in (("--json",), ("--format", "json")):
            code, out, _ = loom("lineage", name, *args, *form)
            assert code == 0
            assert json.loads(out)["pipeline"] == "classify"


def test_two_runs_are_compared(loom, run, shop):
    shop.write(
        "prompts/classify.txt", "---\nversion: v2\n---\n{{ context.rules }}\nReviewed: {{ input.text }}\n"
    )
    _, out, _ = loom("run", "classify", "--direct", "--json", "--fresh")
    second = json.loads(out)["runs"][0]["run_id"]
    code, out, _ = loom("lineage", "classify", "--diff", run, second)
    assert code == 0
    for words in (
        "classify (v1) -> classify (v2)",
        "-Review: {{ input.text }}",
        "+Reviewed:",
        "Settings: the same",
        "2 in both runs",
    ):
        assert words in out
    assert json.loads(loom("lineage", "classify", "--diff", run, second, "--json")[1])["prompt"]["changed"]


def test_the_command_that_goes_on_can_be_pasted_whatever_the_id_is(loom, shop):
    record = "a 'b'\\\n\x1b[31mü"
    shop.reviews({record: "fine"}, "data/odd.parquet")
    shop.pipeline("classify", extract={"source": "data/odd.parquet", "key": "id"})
    below = {"source": "pipeline://classify", "key": "id"}
    shop.pipeline("insights", extract=below, load={"schema": {"topic": {"type": "string"}}})
    for name in ("classify", "insights"):
        loom("run", name, "--direct")
    _, out, _ = loom("lineage", "insights", "--record", record)
    [line] = [line for line in out.splitlines() if "made by: " in line]
    words = line.partition("loom lineage classify --record ")[2]
    said = subprocess.run(["bash", "-c", f"printf %s {words}"], capture_output=True, check=True)
    assert said.stdout.decode() == record


def test_it_can_be_written_to_a_file(loom, run, shop):
    file = shop.root / "lineage.jsonl"
    code, out, _ = loom("lineage", "classify", "--run", run, "--format", "openlineage", "--output", str(file))
    assert (code, str(file) in out) == (0, True)
    assert json.loads(file.read_text().splitlines()[0])["eventType"] == "START"
    assert loom("lineage", "classify", "--output", str(file))[0] == 0
    assert file.read_text().startswith("Pipeline: classify")
    code, _, err = loom("lineage", "classify", "--output", str(shop.root / "no" / "where.txt"))
    assert (code, "cannot be written" in err) == (2, True)


def test_events_and_charts_are_alone_on_stdout(loom, run):
    for line in loom("lineage", "classify", "--format", "openlineage")[1].splitlines():
        assert json.loads(line)["job"]["namespace"] == "shop"
    named = loom("lineage", "classify", "--format", "openlineage", "--namespace", "prod")[1]
    assert json.loads(named)["job"]["namespace"] == "prod"
    assert loom("lineage", "classify", "--run", run, "--format", "mermaid")[1].startswith("flowchart LR\n")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("clasify",), "did you mean `classify`"),
        (("classify", "--run", "20200101T000000-aaaaaa"), "has no run"),
        (("insights", "--run", "RUN"), "is one of `classify`"),
        (("classify", "--record", "r9"), "ids are the values of `id`, such as r"),
        (("classify", "--record", "r1", "--partition", "2026-01-01"), "partition"),
        (("classify", "--format", "yaml"), "'yaml' is not one of"),
        (("classify", "--diff", "RUN", "RUN"), "nothing to compare"),
        (("classify", "--diff", "RUN", "x", "--run", "RUN"), "--diff goes without"),
        (("classify", "--diff", "RUN", "x", "--format", "mermaid"), "cannot be written as mermaid"),
        (("classify", "--record", "r1", "--format", "openlineage"), "cannot be written as openlineage"),
        (("classify", "--json", "--format", "mermaid"), "two forms"),
        (("classify", "--partition", "x"), "belongs to --record"),
        (("classify", "--record", "r\udcff"), "there is no record"),
        (("classify", "--run", "\udcff"), "has no run"),
        (("\udcff", "--record", "r1"), "there is no pipeline"),
    ],
)
def test_bad_input_is_refused_with_words(loom, run, args, words):
    code, out, err = loom("lineage", *(run if a == "RUN" else a for a in args))
    assert code == 2
    assert words in err + out


def test_a_broken_pipeline_shows_its_problems_and_its_past_runs(loom, run, shop):
    shop.write("pipelines/classify.yaml", "name: classify\nextract: {source: 5\n")
    assert loom("lineage", "classify")[0] == 2
    assert loom("lineage", "classify", "--run", run)[0] == 0
    code, out, _ = loom("lineage", "classify", "--record", "r1")
    assert (code, "verified" in out) == (0, True)
    (shop.root / "pipelines" / "classify.yaml").unlink()
    shop.write("pipelines/insights.yaml", "name: insights\n")
    assert loom("lineage", "classify", "--record", "r1")[0] == 0
