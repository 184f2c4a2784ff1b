"""Channels and routes of a project: what may stand in the file, what comes from the environment, what is refused."""

from __future__ import annotations

import pytest

from loom_dagster.channels import read_channels, read_routes
from loom_dagster.errors import Misconfigured
from loom_dagster.settings import load_settings
from loom_dagster.spec import load_project

MAIL = {"type": "email", "host": "smtp.example.com", "sender": "a@example.com", "to": "b@example.com"}


def refused(table, environ=()):
    with pytest.raises(Misconfigured) as told:
        read_channels({"ops": table}, dict(environ))
    return str(told.value)


def test_a_channel_without_its_secret_is_no_error_and_says_what_is_missing():
    channels = read_channels({"ops-team": {"type": "slack"}, "hook": {"type": "webhook"}, "post": MAIL}, {})
    assert channels["ops-team"].missing == "LOOM_CHANNEL_OPS_TEAM"
    assert channels["hook"].missing == "LOOM_CHANNEL_HOOK"
    assert channels["post"].missing is None  # mail servers need not ask for a password
    assert channels["stdout"].missing is None


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"type": "slak"}, "did you mean `slack`?"),
        ({}, "a channel needs a `type`"),
        ("slack", "a channel needs a `type`"),
        ({"type": "slack", "url": "https://hooks/x"}, "secrets stand in the environment: LOOM_CHANNEL_OPS"),
        ({"type": "slack", "recovred": False}, "did you mean `recovered`?"),
        ({"type": "slack", "recovered": "no"}, "not true or false"),
        ({**MAIL, "sender": "a\nBcc: x@y.z"}, "needs the addresses"),
        ({**MAIL, "to": []}, "needs the addresses"),
        ({**MAIL, "port": 0}, "not a port"),
        ({**MAIL, "security": "ssl"}, "one of: starttls, tls, none"),
        ({**MAIL, "security": "none", "user": "u"}, "the password would go over the network as it is"),
    ],
)
def test_what_is_wrong_with_a_channel_is_said(table, words):
    said = refused(table)
    assert words in said
    assert "[tool.loom.channels.ops]" in said


@pytest.mark.parametrize(
    "url", ["hooks.slack.com/secret", "ftp://x/secret", "https:///secret", "https://x:y/secret"]
)
def test_a_wrong_url_is_refused_and_not_shown(url):
    said = refused({"type": "slack"}, {"LOOM_CHANNEL_OPS": url})
    assert "a channel's URL cannot be read" in said
    assert "LOOM_CHANNEL_OPS" in said
    assert "secret" not in said


def test_a_url_that_is_not_encrypted_is_for_this_machine_only():
    assert "not encrypted" in refused(
        {"type": "slack"}, {"LOOM_CHANNEL_OPS": "http://hooks.example.com/secret"}
    )
    assert read_channels({"ops": {"type": "slack"}}, {"LOOM_CHANNEL_OPS": "http://127.0.0.1:1/x"})["ops"].url


@pytest.mark.parametrize(
    "value", ["ops", ["ops"], {"channel": "ops"}, [{"type": "any", "channels": ["ops"]}], " ops "]
)
def test_the_ways_to_say_that_everything_goes_to_a_channel(value):
    [route] = read_routes(value, ["ops"])
    assert route.takes("quality_gate")
    assert route.takes("run_failed")
    assert route.channels == ("ops",)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("opps", "did you mean `ops`?"),
        ({"type": "run_fialed", "channel": "ops"}, "did you mean `run_failed`?"),
        ({"type": "any"}, "names its `channel`"),
        ({"chanel": "ops"}, "{type, channel}"),
        (3, "{type, channel}"),
    ],
)
def test_what_is_wrong_with_a_route_is_said(value, words):
    with pytest.raises(Misconfigured) as told:
        read_routes(value, ["ops"])
    assert words in str(told.value)


PIPELINE = """name: x
extract: {source: a.csv, key: id}
transform: {prompt: p.txt}
evaluate: {evaluators: [{name: shape, type: regex, pattern: x}]}
load: {destination: b.csv}
monitoring:
  alerts:
    - {type: shape, channel: ops}
"""


@pytest.fixture
def problems(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.loom.channels.ops]\ntype = 'slack'\n")
    (tmp_path / "pipelines").mkdir()

    def of(text):
        (tmp_path / "pipelines" / "x.yaml").write_text(text)
        return [str(p) for p in load_project(load_settings(tmp_path, {})).problems]

    return of


def test_an_evaluator_a_monitor_or_any_may_be_told_to_channels_that_exist(problems):
    assert problems(PIPELINE) == []
    assert problems(PIPELINE.replace("type: shape, channel: ops", "type: any, channels: [ops, stdout]")) == []
    assert problems(PIPELINE.replace("type: shape", "type: cost_spike, threshold: 2x")) == []


@pytest.mark.parametrize(
    ("was", "now", "words"),
    [
        ("channel: ops", "channel: opps", "there is no channel `opps` (did you mean `ops`?)"),
        ("type: shape", "type: shap", "`shap` is nothing that alerts tell of (did you mean `shape`?)"),
        ("channel: ops", "channel: ops, chanel: x", "`channel`"),
        ("type: shape", "type: shape, threshold: 0.5", "a second one beside its own"),
        (", channel: ops", "", "channel"),
        ("channel: ops", "channels: []", "something in it"),
    ],
)
def test_what_is_wrong_in_the_yaml_is_said_with_its_line(problems, was, now, words):
    [said] = problems(PIPELINE.replace(was, now))
    assert said.startswith("pipelines/x.yaml:8: ")
    assert words in said
