"""Which assets there are, and who depends on whom."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest


def specs(desk: Any, **keywords: Any) -> dict[str, dg.AssetSpec]:
    defs = desk.definitions(desk.loom(), **keywords)
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def deps(spec: dg.AssetSpec) -> set[str]:
    return {dep.asset_key.to_user_string() for dep in spec.deps}


def executable(desk: Any) -> set[str]:
    graph = desk.definitions(desk.loom()).resolve_asset_graph()
    return {key.to_user_string() for key in graph.executable_asset_keys}


def test_a_pipeline_is_a_source_two_tables_and_what_is_loaded(desk: Any) -> None:
    desk.write("reviews")
    found = specs(desk)
    assert set(found) == {
        "file/data/in.csv",
        "reviews/transformed",
        "reviews/quarantine",
        "file/data/out/reviews.parquet",
    }
    assert deps(found["reviews/transformed"]) == deps(found["reviews/quarantine"]) == {"file/data/in.csv"}
    assert deps(found["file/data/out/reviews.parquet"]) == {"reviews/transformed"}
    assert executable(desk) == set(found)  # what is read can be observed


def test_two_pipelines_share_one_source(desk: Any) -> None:
    desk.write("one", source="data/in.csv")
    desk.write("two", source="./data//in.csv")
    found = specs(desk)
    assert deps(found["one/transformed"]) == deps(found["two/transformed"]) == {"file/data/in.csv"}


@pytest.mark.parametrize("source", ["data/out/first.parquet", "./data/out/../out/first.parquet"])
def test_reading_what_another_one_loads_is_depending_on_it(desk: Any, source: str) -> None:
    desk.write("first")
    desk.write("second", source=source)
    assert deps(specs(desk)["second/transformed"]) == {"file/data/out/first.parquet"}


def test_reading_a_pipeline_is_depending_on_what_it_releases(desk: Any) -> None:
    desk.write("zfirst")
    desk.write("second", source="pipeline://zfirst")
    assert deps(specs(desk)["second/transformed"]) == {"zfirst/transformed"}


def test_a_pipeline_that_enriches_its_own_file_has_no_source(desk: Any) -> None:
    desk.write("own", source="data/table.parquet", destination="data/table.parquet")
    found = specs(desk)
    assert deps(found["own/transformed"]) == set()
    assert deps(found["file/data/table.parquet"]) == {"own/transformed"}


def test_any_name_works(desk: Any) -> None:
    names = ["team/reviews", "customer reviews", "🙂", "a-b", "Über alles: ja?", "op", "a.b"]
    for number, name in enumerate(names):
        desk.write(name, file=f"p{number}", destination=f"data/out/{number} {number}.csv")
        desk.write(f"next{number}", source=f"pipeline://{name}")
    found = specs(desk)
    assert len({dep for n in range(len(names)) for dep in deps(found[f"next{n}/transformed"])}) == len(names)
    ran = desk.run(desk.definitions(desk.loom()))
    assert ran.ok, ran.failures
    assert len(ran.materialized) == len(names) * 6


def test_names_that_look_alike_stay_apart(desk: Any) -> None:
    for number, name in enumerate(["a b", "a_b", "a/b", "a-b", "A_B"]):
        desk.write(name, file=f"p{number}", destination=f"data/out/{number}.csv")
    assert len(specs(desk)) == 1 + 5 * 3


def test_any_evaluator_name_works(desk: Any, script: Any, summary: Any) -> None:
    names = ["quality_gate", "is it good?", "is it good!", "🙂", "shape"]
    evaluators = ", ".join(f"{{name: {name!r}, type: regex, pattern: x}}" for name in names)
    desk.write("p", evaluate=f"[{evaluators}]")
    scores = [summary(name, failed=0) for name in names]
    ran = desk.run(desk.definitions(desk.loom(p=script(scores=scores))))
    assert ran.ok, ran.failures
    assert len(ran.checks) == len(names) + 1
    assert all(check.passed for check in ran.checks.values())
    assert [name for name, check in ran.checks.items() if check.blocking] == ["quality_gate"]


def test_a_broken_pipeline_is_seen_and_the_others_run(desk: Any, caplog: pytest.LogCaptureFixture) -> None:
    desk.write("good")
    (desk.root / "pipelines" / "bad.yaml").write_text("name: bad\nextrakt: {source: x}\n")
    (desk.root / "pipelines" / "worse.yaml").write_text("\tname: [")
    desk.write("reader", source="pipeline://bad")
    loom = desk.loom()
    defs = desk.definitions(loom)
    found = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    for name in ("bad", "worse"):
        spec = found[f"{name}/transformed"]
        assert spec.description is not None
        assert f"pipelines/{name}.yaml:" in spec.description
        assert "broken" in spec.kinds
        assert f"pipeline `{name}` cannot run" in caplog.text
    assert "extrakt" in (found["bad/transformed"].description or "")
    assert "bad/transformed" not in executable(desk)
    ran = desk.run(defs, "good/transformed", "good/quarantine", "file/data/out/good.parquet")
    assert ran.ok, ran.failures


def test_pipelines_with_one_name_or_one_destination_are_seen_as_broken(desk: Any) -> None:
    desk.write("twin", file="twin1", destination="data/1.csv")
    desk.write("twin", file="twin2", destination="data/2.csv")
    desk.write("left", destination="data/same.csv")
    desk.write("right", destination="./data/same.csv")
    found = specs(desk)
    assert set(found) == {"twin/transformed", "left/transformed", "right/transformed"}
    assert "same destination" in (found["left/transformed"].description or "")


def test_pipelines_that_read_each_other_do_not_take_the_location_down(desk: Any) -> None:
    desk.write("hen", source="pipeline://egg")
    desk.write("egg", source="data/out/hen.parquet")
    desk.write("fine")
    found = specs(desk)
    assert "circle" in (found["hen/transformed"].description or "")
    assert "fine/transformed" in executable(desk)


def test_no_pipelines_at_all(desk: Any) -> None:
    assert specs(desk) == {}
