from __future__ import annotations

import pytest

from loom_dagster.errors import Misconfigured
from loom_dagster.settings import Settings
from loom_dagster.spec import load_project


def test_a_project_without_pipelines_is_empty_and_says_so_when_asked(tmp_path):
    project = load_project(Settings(root=tmp_path))
    assert (project.names, project.problems) == ((), ())
    with pytest.raises(Misconfigured, match=r"no \*.yaml file in pipelines/"):
        project.pipeline("x")


def test_good_pipelines_are_found_by_name_with_lines(project, tmp_path):
    loaded = project(b=("beta", "a.csv", "out/b"), a=("alpha", "a.csv", "out/a"))
    assert list(loaded.files) == ["alpha", "beta"]
    file = loaded.pipeline("beta")
    assert file.path == tmp_path / "pipelines" / "b.yaml"
    assert file.where("load", "destination") == "pipelines/b.yaml:4"


def test_an_unknown_name_gets_the_nearest(project):
    with pytest.raises(Misconfigured, match="did you mean `customer_sentiment`"):
        project(a=("customer_sentiment", "a", "b")).pipeline("customer_sentimnt")


@pytest.mark.parametrize("bad", ["a: [", "\tname: x", "", "name: bad\nfoo: 1\n", "- 1", "x: {{ y }}"])
def test_a_bad_file_does_not_stop_the_others(project, bad):
    loaded = project(bad=bad, good=("good", "a", "b"))
    assert list(loaded.files) == ["good"]
    assert list(loaded.broken) == ["bad"]
    assert loaded.problems
    assert loaded.problems_of("good") == ()
    with pytest.raises(Misconfigured) as caught:
        loaded.pipeline("bad")
    assert caught.value.problems == loaded.problems_of("bad")


def test_files_that_are_no_text_do_not_stop_the_others(project, tmp_path):
    folder = tmp_path / "pipelines"
    folder.mkdir()
    (folder / "folder.yaml").mkdir()
    (folder / "latin.yml").write_bytes(b"name: caf\xe9")
    (folder / ".hidden.yaml").write_text("{")
    loaded = project(good=("good", "a", "b"))
    assert list(loaded.files) == ["good"]
    assert {p.where for p in loaded.problems} == {"pipelines/folder.yaml", "pipelines/latin.yml:1"}


def test_a_broken_pipeline_is_known_by_the_name_it_has(project):
    loaded = project(file_stem="name: 'real name'  # yes\nextract: {}\n")
    assert list(loaded.broken) == ["real name"]


def test_two_pipelines_of_one_name_are_both_refused_each_naming_the_other(project):
    loaded = project(a=("same", "x", "out/a"), b=("same", "x", "out/b"), c=("other", "x", "out/c"))
    assert list(loaded.files) == ["other"]
    assert [str(p) for p in loaded.problems_of("same")] == [
        "pipelines/a.yaml:1: the name `same` is also that of pipelines/b.yaml:1 (give each pipeline a name of its own)",
        "pipelines/b.yaml:1: the name `same` is also that of pipelines/a.yaml:1 (give each pipeline a name of its own)",
    ]


def test_a_name_shared_with_a_file_that_cannot_be_read_is_refused_too(project):
    loaded = project(a=("same", "x", "out/a"), b="name: same\nfoo: 1\n")
    assert list(loaded.files) == []
    assert any("another file" in p.what for p in loaded.problems_of("same"))


@pytest.mark.parametrize("other", ["out/x", "./out//x/", "out/y/../x", "file://{root}/out/x"])
def test_two_pipelines_with_one_destination_are_both_refused(project, tmp_path, other):
    loaded = project(a=("a", "s", "out/x"), b=("b", "s", other.format(root=tmp_path)))
    assert list(loaded.files) == []
    assert loaded.problems_of("a")[0].where == "pipelines/a.yaml:4"
    assert "`a` has the same destination" in loaded.problems_of("b")[0].what


def test_the_destination_of_a_url_is_compared_too(project):
    loaded = project(
        a=("a", "s", "s3://bucket/x"), b=("b", "s", "S3://bucket//x/"), c=("c", "s", "s3://bucket/X")
    )
    assert list(loaded.files) == ["c"]


def test_a_source_that_is_a_pipeline_must_exist(project):
    loaded = project(a=("reviews", "s", "x"), b=("insights", "pipeline://review", "y"))
    assert list(loaded.files) == ["reviews"]
    assert str(loaded.problems_of("insights")[0]) == (
        "pipelines/b.yaml:2: `pipeline://review` names no pipeline of this project (did you mean `reviews`?)"
    )


def test_a_pipeline_that_reads_a_broken_one_is_itself_fine(project):
    assert list(project(a="name: a\n", b=("b", "pipeline://a", "y")).files) == ["b"]


def test_upstream_is_what_a_pipeline_reads_by_name_or_by_place(project):
    loaded = project(
        a=("a", "s.csv", "out/a"),
        b=("b", "pipeline://a", "out/b"),
        c=("c", "./out/b", "out/c"),
        d=("d", "own", "own"),
    )
    assert [loaded.upstream(name) for name in "abcd"] == [(), ("a",), ("b",), ()]


def test_pipelines_that_read_each_other_in_a_circle_are_refused(project):
    loaded = project(
        a=("a", "pipeline://c", "out/a"),
        b=("b", "out/a", "out/b"),
        c=("c", "pipeline://b", "out/c"),
        d=("d", "pipeline://d", "out/d"),
        e=("e", "pipeline://a", "out/e"),
    )
    assert list(loaded.files) == ["e"]
    assert all("in a circle" in loaded.problems_of(name)[0].what for name in "abcd")


@pytest.mark.parametrize(
    ("a", "b", "c"),
    [
        (("out/c.csv", "out/a.csv"), ("./out//a.csv", "out/b.csv"), ("out/x/../b.csv", "out/c.csv")),
        (("pipeline://c", "out/a.csv"), ("out/a.csv", "s3://lake/b.csv"), ("S3://lake//b.csv", "out/c.csv")),
        (("postgres://db/c", "postgres://db"), ("postgres://db/a", "postgres://db"), ("postgres://db/b", "postgres://db")),
    ],
    ids=["files", "mixed", "tables that are called like their pipeline"],
)  # fmt: skip
def test_a_circle_through_destinations_is_named_in_full(project, a, b, c):
    found = project(a=("a", *a), b=("b", *b), c=("c", *c))
    assert set(found.broken) == {"a", "b", "c"}
    for name in ("a", "b", "c"):
        [said] = [str(p) for p in found.problems_of(name)]
        assert "pipelines read each other in a circle:" in said
        assert all(f"`{each}`" in said for each in ("a", "b", "c"))
        assert f"pipelines/{name}.yaml:" in said
