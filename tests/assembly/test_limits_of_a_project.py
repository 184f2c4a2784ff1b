"""Limits stand in the YAML for a pipeline and in [tool.loom.limits] for a project: both hold."""

from __future__ import annotations

import textwrap
from types import SimpleNamespace

import pytest

from loom_dagster.assembly import Loom
from loom_dagster.assembly.models import Models
from loom_dagster.errors import Misconfigured
from loom_dagster.gateway import PriceBook, ProviderLimits
from loom_dagster.settings import ModelLimits, RunOptions, load_settings
from loom_dagster.spec import parse_pipeline
from tests.servers.llm import LLMServer

PIPELINE = """
name: x
extract: {source: a.csv, key: id}
transform: {prompt: p, model: %s, limits: %s}
load: {destination: b.csv}
"""


@pytest.fixture
def settings_of(tmp_path):
    def read(text, environ=None):
        (tmp_path / "pyproject.toml").write_text("[tool.loom]\n" + textwrap.dedent(text))
        return load_settings(tmp_path, environ or {})

    return read


@pytest.fixture
def model_of(settings_of):
    def make(limits, settings, model="openai/gpt-4o-mini"):
        spec = parse_pipeline(PIPELINE % (model, limits)).spec
        return Models(spec, settings_of(settings), RunOptions(), PriceBook.load()).transform(None)

    return make


def test_limits_are_read_by_provider_and_model(settings_of):
    settings = settings_of("""
        [tool.loom.limits.openai]
        in_flight = 128
        [tool.loom.limits."openai/gpt-4o-mini"]
        requests_per_minute = 5000
        tokens_per_minute = 2_000_000
    """)
    assert settings.limits == {
        "openai": ModelLimits(in_flight=128),
        "openai/gpt-4o-mini": ModelLimits(requests_per_minute=5000, tokens_per_minute=2_000_000),
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("in_flight = 0", "`in_flight` is `0`, not a whole number of at least 1 (leave it out for no limit)"),
        ("tokens_per_minute = -5", "`tokens_per_minute` is `-5`, not a whole number of at least 1"),
        ("in_flight = 1.5", "`in_flight` is `1.5`"),
        ("in_flight = true", "`in_flight` is `True`"),
        ("in_flight = '8'", "`in_flight` is `8`, not a whole number"),
        (
            "in_fligth = 8",
            'unknown setting `in_fligth` in [tool.loom.limits."openai"] (did you mean `in_flight`?)',
        ),
    ],
)
def test_a_wrong_limit_is_refused_and_says_where(settings_of, text, says):
    with pytest.raises(Misconfigured) as told:
        settings_of(f"[tool.loom.limits.openai]\n{text}\n")
    assert says in str(told.value)
    assert '[tool.loom.limits."openai"]' in str(told.value)


@pytest.mark.parametrize("text", ["limits = 5", "limits = {openai = 5}"])
def test_limits_that_are_no_table_are_refused(settings_of, text):
    with pytest.raises(Misconfigured, match=r"\[tool.loom\]: .* is `5`, not a table"):
        settings_of(text)


@pytest.mark.parametrize("what", ["in_flight", "requests_per_minute", "tokens_per_minute"])
@pytest.mark.parametrize("number", [0, -3])
def test_a_limit_of_nothing_in_the_yaml_is_refused_with_its_line(what, number):
    with pytest.raises(Misconfigured) as told:
        parse_pipeline(PIPELINE % ("m/m", f"{{{what}: {number}}}"), file="pipelines/x.yaml")
    (problem,) = told.value.problems
    assert str(problem).startswith("pipelines/x.yaml:4: ")
    assert what in str(problem)
    assert "1" in str(problem)


def test_the_narrower_of_the_pipelines_and_the_projects_limit_holds(model_of):
    settings = """
        [tool.loom.limits."openai/gpt-4o-mini"]
        in_flight = 32
        requests_per_minute = 600
    """
    wide = model_of("{in_flight: 64, requests_per_minute: 5000, tokens_per_minute: 1000}", settings)
    assert (wide.in_flight, wide.requests_per_minute, wide.tokens_per_minute) == (32, 600, 1000)
    narrow = model_of("{in_flight: 8, requests_per_minute: 60}", settings)
    assert (narrow.in_flight, narrow.requests_per_minute) == (8, 60)


@pytest.mark.parametrize(
    ("settings", "in_flight"),
    [
        ("", 64),
        ('[tool.loom.limits."openai/gpt-4o-mini"]\nin_flight = 256', 256),
        ("[tool.loom.limits.openai]\nin_flight = 200", 200),
        ('limits = {openai = {in_flight = 200}, "openai/gpt-4o-mini" = {in_flight = 9}}', 9),
    ],
)
def test_a_pipeline_that_says_nothing_uses_what_the_project_allows(model_of, settings, in_flight):
    assert model_of("{requests_per_minute: 5}", settings).in_flight == in_flight


def test_the_providers_limits_hold_besides(model_of):
    model = model_of("{in_flight: 64}", "[tool.loom.limits.openai]\nin_flight = 16\ntokens_per_minute = 900")
    assert model.in_flight == 64
    assert model.provider == ProviderLimits(name="openai", in_flight=16, tokens_per_minute=900)
    assert (
        model_of("{in_flight: 64}", "[tool.loom.limits.openai]\nin_flight = 16", "groq/llama").provider
        is None
    )


def test_a_model_without_a_prefix_is_known_by_its_whole_name(model_of):
    model = model_of("{}", '[tool.loom.limits."openai/gpt-4o-mini"]\nin_flight = 7', "gpt-4o-mini")
    assert model.in_flight == 7


def test_a_run_shares_its_limits_through_the_ledger(settings_of, tmp_path, monkeypatch):
    """Beside one that holds half of a limit, a run has the other half."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with LLMServer(latency=0.005) as server:
        settings_of(f'api_base = "{server.base_url}"\n[tool.loom.limits.openai]\nin_flight = 2')
        for name, text in {
            "pipelines/x.yaml": PIPELINE % ("openai/any", "{in_flight: 8}"),
            "prompts/p.txt": "Classify: {{ input.text }}",
            "a.csv": "id,text\n" + "".join(f"{n},review {n}\n" for n in range(40)),
        }.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        loom = Loom.open(tmp_path, {"OPENAI_API_KEY": "none"})
        idle = loom.ledger.limit_shares()
        idle.beat({"openai/*": SimpleNamespace(most=1, held=0, wanted=1)})
        outcome = loom.run("x")
        assert outcome.counts.passed == 40
        assert server.stats()["max_in_flight"] == 1
        after = loom.ledger.limit_shares().beat({"openai/*": SimpleNamespace(most=2, held=0, wanted=2)})
        assert after["openai/*"].slots == 1  # what the run had is free
