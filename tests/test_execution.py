"""[tool.loom.execution] and the `execution` block: which engine settles a pipeline's records."""

from __future__ import annotations

import pytest

from loom_dagster.errors import Misconfigured
from loom_dagster.execution import Execution, checked_address
from loom_dagster.settings import load_settings
from loom_dagster.spec import execution_of, parse_pipeline

PIPELINE = """\
name: x
extract: {source: a.csv, key: id}
transform: {prompt: p}
load: {destination: b.csv}
%s
"""


@pytest.fixture
def project(tmp_path):
    def read(text="", **environ):
        (tmp_path / "pyproject.toml").write_text("[tool.loom]\n" + text)
        return load_settings(tmp_path, environ)

    return read


def own(text):
    return parse_pipeline(PIPELINE % text).spec.execution


def problems(text):
    with pytest.raises(Misconfigured) as caught:
        parse_pipeline(PIPELINE % text, file="pipelines/x.yaml")
    return [str(p) for p in caught.value.problems]


def test_what_nobody_says_is_settled_in_this_process(project):
    assert execution_of(own(""), project().execution) == Execution()
    assert not Execution().by_ray


def test_a_pipeline_goes_before_its_project_key_by_key(project):
    settings = project('[tool.loom.execution]\nengine = "ray"\naddress = "ray://head:10001"\nworkers = 8\n')
    of_project = Execution(engine="ray", address="ray://head:10001", workers=8)
    assert execution_of(own(""), settings.execution) == of_project
    some = execution_of(own("execution: {workers: 3}"), settings.execution)
    assert some == Execution(engine="ray", address="ray://head:10001", workers=3)
    assert not execution_of(own("execution: {engine: local}"), settings.execution).by_ray


def test_the_environment_goes_before_the_file(project):
    settings = project(
        '[tool.loom.execution]\nengine = "local"\nworkers = 8\n',
        LOOM_EXECUTION_ENGINE="ray",
        LOOM_EXECUTION_ADDRESS="10.0.0.1:6379",
        LOOM_EXECUTION_WORKERS="12",
    )
    assert settings.execution == Execution(engine="ray", address="10.0.0.1:6379", workers=12)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('[tool.loom.execution]\nengin = "ray"', r"unknown setting `engin` .*did you mean `engine`\?"),
        ('[tool.loom.execution]\nengine = "rey"', r"`engine` is `rey` .*did you mean `ray`\?"),
        ('[tool.loom.execution]\nengine = "spark"', "known: local, ray"),
        ("[tool.loom.execution]\nengine = 1", "`engine` is `1`, not a text"),
        ("[tool.loom.execution]\nworkers = 0", "`workers` is `0`, not a whole number of at least 1"),
        ("[tool.loom.execution]\nworkers = 2.5", "`workers` is `2.5`"),
        ("[tool.loom.execution]\nworkers = true", "`workers` is `True`"),
        ('[tool.loom.execution]\naddress = "head"', r"no port: a cluster's head answers at 6379, head:6379"),
        ('execution = "ray"', "`execution` is `ray`, not a table"),
    ],
)
def test_wrong_settings_are_named_with_the_nearest_right_one(project, table, says):
    with pytest.raises(Misconfigured, match=says):
        project(table)


def test_a_wrong_variable_is_named(project):
    with pytest.raises(Misconfigured, match="LOOM_EXECUTION_WORKERS: `workers` is `many`"):
        project(LOOM_EXECUTION_WORKERS="many")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "execution: {engin: ray}",
            "pipelines/x.yaml:5: unknown key `engin` in `execution` (did you mean `engine`?)",
        ),
        (
            "execution:\n  engine: rey",
            "pipelines/x.yaml:6: `execution.engine` is `rey` (did you mean `ray`?)",
        ),
        (
            "execution: {workers: 0}",
            "pipelines/x.yaml:5: `execution.workers` must be at least 1, it is `0`",
        ),
        (
            "execution: {address: 'ray://head'}",
            (
                "pipelines/x.yaml:5: `execution.address`: `ray://head` has no port: Ray's clients are answered at 10001, "
                "ray://head:10001"
            ),
        ),
        (
            "execution: ray",
            "pipelines/x.yaml:5: `execution` must be a mapping (`key: value` lines), it is `ray`",
        ),
    ],
)
def test_wrong_keys_and_values_are_told_with_their_line(text, says):
    assert problems(text) == [says]


@pytest.mark.parametrize(
    "address", ["auto", "head:6379", "10.0.0.1:6379", "ray://head.example:10001", "[::1]:6379"]
)
def test_addresses_that_ray_takes(address):
    assert checked_address(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "Auto",
        "local",
        "head:0",
        "head:70000",
        "http://head:8265",
        "ray:// head:1",
        "a b:1",
        "head:6379/x",
        "::1",
    ],
)
def test_addresses_that_nobody_answers(address):
    with pytest.raises(ValueError, match="Ray"):
        checked_address(address)


def test_a_login_is_not_repeated():
    with pytest.raises(ValueError, match="no login") as caught:
        checked_address("ray://me:hunter2@head:10001")
    assert "hunter2" not in str(caught.value)
