"""What users get wrong: one clear message, exit 2, nothing written, nothing asked."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.journeys.project import Project


def check_refused(project: Project, *parts: str, name: str = "classify") -> None:
    run = project.loom("run", name, "--direct")
    assert run.code == 2, run.out + run.err
    for part in parts:
        assert part in run.err, run.err
    assert not (project.root / "out").exists()
    assert not list(project.root.glob(".loom/datasets/**/*.parquet"))


@pytest.fixture
def ready(project: Project) -> Project:
    project.reviews({"r1": "good", "r2": "bad"})
    project.pipeline()
    return project


def yaml(project: Project, old: str, new: str) -> None:
    path = project.root / "pipelines/classify.yaml"
    path.write_text(path.read_text().replace(old, new), encoding="utf-8")


def test_tabs(ready: Project) -> None:
    yaml(ready, "  source:", "\tsource:")
    check_refused(ready, "pipelines/classify.yaml:3", "tab")


def test_duplicate_keys(ready: Project) -> None:
    yaml(ready, "  key: id", "  key: id\n  key: text")
    check_refused(ready, "pipelines/classify.yaml:5", "`key`")


def test_ten_thousand_unknown_keys(ready: Project) -> None:
    path = ready.root / "pipelines/classify.yaml"
    path.write_text(path.read_text() + "".join(f"key{i}: 1\n" for i in range(10_000)))
    check_refused(ready, "`key0`", "9,980 more")


def test_anchors_work_and_bombs_do_not(ready: Project) -> None:
    path = ready.root / "pipelines/classify.yaml"
    good = path.read_text()
    path.write_text(good.replace("name: classify", "name: &n classify") + "description: *n\n")
    assert ready.run().code == 0
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
    )
    path.write_text(good + bomb)
    run = ready.loom("run", "classify", "--direct")
    assert run.code == 2 and "alias" in run.err


def test_the_nearest_right_word_is_named(ready: Project) -> None:
    yaml(ready, "destination:", "destnation:")
    check_refused(ready, "pipelines/classify.yaml:", "destnation", "`destination`")


def test_partitions_without_a_start_are_refused_with_how_to_write_them(ready: Project) -> None:
    yaml(ready, "  key: id", "  key: id\n  partitions: {every: daily}")
    check_refused(ready, "extract.partitions", "partitions need a start")


def test_an_unknown_pipeline(ready: Project) -> None:
    run = ready.loom("run", "clasify", "--direct")
    assert run.code == 2 and "`classify`" in run.err


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}{{ input.text }}",
        "{{ 'a' * 10000000000 }}{{ input.text }}",
        "{% set a = 'x' * 1000 %}"
        + "{% set a = a ~ a ~ a ~ a ~ a ~ a ~ a ~ a ~ a ~ a %}" * 12
        + "{{ a }}{{ input.text }}",
        "{{ input.__class__.__mro__ }}{{ input.text }}",
        "{{ 9 ** 99999999 }}{{ input.text }}",
    ],
)
def test_template_bombs(ready: Project, template: str) -> None:
    ready.write("prompts/classify.txt", template)
    check_refused(ready, "prompts/classify.txt")


def test_a_template_that_does_not_parse_suggests_raw(ready: Project) -> None:
    ready.write("prompts/classify.txt", 'Answer as {{ "sentiment": ... }}\n{{ input.text }}')
    check_refused(ready, "prompts/classify.txt:1", "{% raw %}")


def test_a_missing_source(ready: Project) -> None:
    (ready.root / "data/reviews.parquet").unlink()
    check_refused(ready, "data/reviews.parquet")


def test_half_a_parquet_file(ready: Project) -> None:
    path = ready.root / "data/reviews.parquet"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    check_refused(ready, "reviews.parquet", "Parquet")


def test_a_column_named_like_ours(ready: Project) -> None:
    pq.write_table(
        pa.table({"id": ["1"], "text": ["x"], "_loom_run_id": ["y"]}), ready.root / "data/reviews.parquet"
    )
    check_refused(ready, "_loom_run_id")


def test_an_output_column_named_like_a_source_column(ready: Project) -> None:
    pq.write_table(
        pa.table({"id": ["1"], "text": ["x"], "sentiment": ["y"]}), ready.root / "data/reviews.parquet"
    )
    check_refused(ready, "sentiment")


def test_an_empty_source_is_a_success_that_says_so(ready: Project) -> None:
    pq.write_table(
        pa.table({"id": pa.array([], pa.string()), "text": pa.array([], pa.string())}),
        ready.root / "data/reviews.parquet",
    )
    run = ready.loom("run", "classify", "--direct")
    assert run.code == 0 and "empty" in run.out


def test_an_empty_extract_never_takes_the_place_of_a_table(ready: Project) -> None:
    assert ready.run().code == 0
    before = (ready.root / "out/classify.parquet").read_bytes()
    pq.write_table(
        pa.table({"id": pa.array([], pa.string()), "text": pa.array([], pa.string())}),
        ready.root / "data/reviews.parquet",
    )
    assert ready.run().code == 0
    assert (ready.root / "out/classify.parquet").read_bytes() == before


@pytest.mark.parametrize("name", ["with space", "a/b", "żółw 🐢", "..", "CON"])
def test_odd_names(ready: Project, name: str) -> None:
    ready.write(
        "pipelines/odd.yaml",
        (ready.root / "pipelines/classify.yaml")
        .read_text()
        .replace("name: classify", f"name: {name!r}")
        .replace("out/classify", "out/odd"),
    )
    run = ready.run(name)
    assert run.code == 0, run.err
    assert run.outcome["counts"]["passed"] == 2
    assert (
        Path(run.outcome["transformed_path"])
        .resolve()
        .is_relative_to((ready.root / ".loom/datasets").resolve())
    )


def test_two_pipelines_with_one_name(ready: Project) -> None:
    ready.write("pipelines/again.yaml", (ready.root / "pipelines/classify.yaml").read_text())
    check_refused(ready, "again.yaml", "classify.yaml", "`classify`")


def test_two_pipelines_with_one_destination(ready: Project) -> None:
    ready.pipeline("other", load={"destination": "./out/classify.parquet"})
    check_refused(ready, "destination", "pipelines/other.yaml:")


def test_records_that_cannot_work_are_quarantined_and_the_rest_goes_on(ready: Project) -> None:
    table = pa.table(
        {
            "id": ["a", None, "a", "b", "c", "d"],
            "text": ["fine", "no key", "repeated", "good", "x" * 3_000_000, "bad"],
            "price": [1.0, 1.0, 1.0, float("nan"), 1.0, 1.0],
        }
    )
    pq.write_table(table, ready.root / "data/reviews.parquet")
    ready.write("prompts/classify.txt", "{{ input.text }} {{ input.price }}")
    run = ready.run()
    assert run.code == 0, run.err
    kept = pq.read_table(run.outcome["quarantine_path"]).to_pylist()
    assert [q["kind"] for q in kept] == ["null_key", "repeated_key", "unrenderable"]
    counts = run.outcome["counts"]
    assert (counts["extracted"], counts["passed"], counts["source_errors"]) == (6, 3, 2)


def test_bytes_in_a_prompt_are_refused_record_by_record(ready: Project) -> None:
    pq.write_table(
        pa.table({"id": ["a", "b"], "text": [b"\x00\xff", None]}), ready.root / "data/reviews.parquet"
    )
    run = ready.run()
    kept = pq.read_table(run.outcome["quarantine_path"]).to_pylist()
    assert [(q["record_id"], q["kind"]) for q in kept] == [("a", "unrenderable")]
