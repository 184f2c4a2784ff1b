"""What `loom status`, `history` and `report` say of runs that really happened."""

from __future__ import annotations

from loom_dagster.assembly import Loom
from loom_dagster.cli.main import run_cli
from tests.journeys.project import Project


def test_a_run_a_retry_and_what_is_told_of_them(project: Project, capsys):
    project.reviews({f"r{n}": "positive" if n % 3 else "negative" for n in range(30)})
    project.pipeline(
        extract={"source": "data/reviews.parquet", "key": "id"},
        evaluate={
            "evaluators": [
                {"name": "right", "type": "exact_match", "field": "sentiment", "reference_field": "text"}
            ]
        },
    )
    loom = Loom.open(project.root, {})
    first = loom.run("classify")
    assert 0 < first.counts.quarantined < 30
    retried = loom.retry("classify", None)
    assert retried.scores[0].passed + retried.scores[0].failed < 30, "only some were asked about again"

    def said(*words: str) -> str:
        capsys.readouterr()
        assert run_cli([*words, "--project", str(project.root)]) == 0
        return capsys.readouterr().out

    page = project.root / "report.html"
    said("report", "classify", "--output", str(page))
    text = page.read_text("utf-8")
    assert retried.run_id in text and "30 scores" in text, "the report shows the whole batch"
    assert "judged records agree" in text, "the reference of an evaluator is one of the field"
    assert "Beside the released run" not in text
    listed = said("history", "classify")
    assert first.run_id in listed and retried.run_id in listed
    assert "released" in said("status")


def test_partitions_are_compared_with_the_ones_before(project: Project, capsys):
    rows = "id,text,at\n" + "".join(f"{n},I love it,2026-01-0{1 + n % 2}T08:00:00Z\n" for n in range(20))
    project.write("data/in.csv", rows)
    project.pipeline(
        extract={
            "source": "data/in.csv",
            "key": "id",
            "partitions": {"every": "daily", "start": "2026-01-01", "column": "at"},
        },
        load={"destination": "out/"},
    )
    loom = Loom.open(project.root, {})
    before, run = (loom.run("classify", partition=day) for day in ("2026-01-01", "2026-01-02"))
    page = project.root / "report.html"
    words = [
        "report",
        "classify",
        "--partition",
        "2026-01-02",
        "--output",
        str(page),
        "--project",
        str(project.root),
    ]
    assert run_cli(words) == 0
    text = page.read_text("utf-8")
    assert run.run_id in text and "2026-01-02" in text
    assert f"Run <code>{before.run_id}</code>" in text, "the partition before it"
    words[3] = "2026-01-32"
    assert run_cli(words) == 2
    assert "2026-01-32" in capsys.readouterr().err
