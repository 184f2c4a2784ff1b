from __future__ import annotations


def test_each_model_with_its_lane(project):
    project.reviews({"a": "good"})
    project.environ = dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "COHERE_API_KEY"), "x")
    project.pipeline(
        transform={"model": "gpt-4o-mini", "fallbacks": ["claude-sonnet-4-5", "ollama/llama3"]},
        evaluate={
            "model": "cohere/command-r",
            "evaluators": [
                {"name": "known", "type": "contains", "field": "sentiment", "substrings": ["positive"]},
                {"name": "judged", "type": "custom_criteria", "criteria": "short"},
            ],
        },
    )
    ways = {
        "gpt-4o-mini": "OpenAI wire",
        "claude-sonnet-4-5": "litellm's configuration, own connection",
        "ollama/llama3": "litellm's configuration, own connection",
        "cohere/command-r": "litellm",
    }
    document = project.loom("validate", "classify", "--json").json["pipelines"][0]
    assert document["models"] == ways
    page = project.loom("validate", "classify").out
    for name, role in zip(ways, ("", " (fallback)", " (fallback)", " (judge)"), strict=True):
        assert f"{name}{role}: {ways[name]}\n" in page


def test_an_offline_model_is_asked_in_process(project):
    project.reviews({"a": "good"})
    project.pipeline()
    assert project.loom("validate", "--json").json["pipelines"][0]["models"] == {"offline/demo": "in process"}


def test_a_model_that_nobody_serves_has_no_lane(project):
    project.reviews({"a": "good"})
    project.pipeline(transform={"model": "who-knows"})
    run = project.loom("validate", "--json")
    assert run.code == 2
    assert run.json["pipelines"][0]["models"] == {}
