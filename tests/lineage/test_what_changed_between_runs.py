"""Two runs side by side: what was changed, and what it did to which records."""

from __future__ import annotations

import json
import shutil

import pytest

from loom_dagster.assembly.differences import run_diff
from loom_dagster.errors import Misconfigured
from loom_dagster.lineage import changes_between, text_diff
from tests.servers.llm import LLMServer

ALWAYS = {"agrees": {"type": "exact_match", "field": "sentiment", "reference_field": "label"}}


def pipeline(shop, server, threshold=1.0, **transform):
    shop.environ = {"OPENAI_API_KEY": "k"}
    shop.pipeline(
        extract={"source": "data/reviews.csv", "key": "id"},
        transform={"prompt": "classify", "model": "openai/any", "api_base": server.base_url, **transform},
        evaluate={
            "evaluators": [
                {"name": "agrees", "type": "similarity", "field": "sentiment", "reference_field": "label", "threshold": threshold}
            ]
        },
        load={"schema": {"sentiment": "string"}},
    )  # fmt: skip


@pytest.fixture
def two(shop):
    """From a model that says the label of r0 and r1 to one that says all but that of r0, with another prompt."""
    labels = dict(enumerate(("positive", "negative", "positive", "nothing")))
    says = {**labels, 2: "wrong", 3: "wrong"}

    def answer(request):
        at = int(request["messages"][-1]["content"].partition("text ")[2][0])
        return json.dumps({"sentiment": says[at]})

    with LLMServer(answer=answer) as server:
        pipeline(shop, server)
        first = shop.ran()
        says.update({0: "wrong", 2: "positive", 3: "nothing"})
        shop.write(
            "prompts/classify.txt",
            "---\nversion: v2\n---\n{{ context.rules }}\nReview: {{ input.text }}\nSay it.\n",
        )
        shop.write("context/rules.md", "---\nversion: r2\n---\nBe fair.\nBe brief.\n")
        pipeline(shop, server, threshold=0.9, temperature=0.7)
        second = shop.ran()
    return run_diff(shop.open(), "classify", first, second), shop, first, second


def test_texts_and_settings_that_changed_are_shown(two):
    diff, *_ = two
    assert diff["prompt"]["changed"]
    assert (diff["prompt"]["before"]["version"], diff["prompt"]["after"]["version"]) == ("v1", "v2")
    assert [
        line for line in diff["prompt"]["diff"] if line[0] in "+-" and line[:3] not in ("+++", "---")
    ] == [
        "-version: v1",
        "+version: v2",
        "-Answer with a sentiment.",
        "+Say it.",
    ]
    [context] = diff["contexts"]
    assert (context["name"], context["before"], context["after"]) == ("rules", "r1", "r2")
    assert "+Be brief." in context["diff"]
    assert {c["what"]: (c["before"], c["after"]) for c in diff["settings"]} == {
        "model.temperature": (0.0, 0.7),
        "evaluators.agrees.threshold": (1.0, 0.9),
    }


def test_records_that_went_another_way_are_counted_and_named(two):
    diff, *_ = two
    records = diff["records"]
    assert (records["both"], records["only_first"], records["only_second"]) == (4, 0, 0)
    assert (records["newly_passed"], records["newly_failed"], records["outputs_changed"]) == (2, 1, 0)
    assert {(m["record_id"], m["before"], m["after"]) for m in records["moved"]} == {
        ("r0", "passed", "quarantined"),
        ("r2", "quarantined", "passed"),
        ("r3", "quarantined", "passed"),
    }
    assert records["scores"] == {"agrees": {"better": 2, "worse": 1, "same": 1}}
    assert diff["counts"]["passed"] == {"before": 2, "after": 3}


def test_the_same_answers_are_no_change(shop):
    first, second = shop.ran(), shop.ran()
    diff = run_diff(shop.open(), "classify", first, second)
    assert (diff["prompt"]["changed"], diff["contexts"], diff["settings"]) == (False, [], [])
    assert diff["records"]["outputs_changed"] == diff["records"]["newly_failed"] == 0
    assert all(s["better"] == s["worse"] == 0 for s in diff["records"]["scores"].values())


def test_an_output_that_changed_is_shown_before_and_after(shop):
    texts = iter(["good"] * 4 + ["good", "better", "good", "good"])
    with LLMServer(answer=lambda request: next(texts)) as server:
        shop.environ = {"OPENAI_API_KEY": "k"}
        shop.pipeline(
            extract={"source": "data/reviews.csv", "key": "id"},
            transform={"model": "openai/any", "api_base": server.base_url, "cache": {"enabled": False},
                       "limits": {"in_flight": 1}},
            load={"schema": None},
        )  # fmt: skip
        first, second = shop.ran(), shop.ran()
    records = run_diff(shop.open(), "classify", first, second)["records"]
    assert records["outputs_changed"] == 1
    [example] = records["examples"]
    assert (example["before"], example["after"]) == ({"output": "good"}, {"output": "better"})


def test_without_files_what_the_ledger_keeps_is_left(two):
    _, shop, first, second = two
    shutil.rmtree(shop.folder(first))
    diff = run_diff(shop.open(), "classify", first, second)
    assert diff["prompt"]["changed"] and diff["counts"]["passed"]
    assert f"the files of run {first} are gone" in diff["records"]["unknown"]


def test_of_a_run_that_was_killed_nothing_is_claimed(shop):
    first, ledger = shop.ran(), shop.open().ledger
    handle = ledger.begin_run("classify", "", "another fingerprint")
    ledger.leave_run(handle)
    diff = run_diff(shop.open(), "classify", first, handle.run_id)
    assert (diff["prompt"]["changed"], diff["contexts"], diff["settings"]) == (None, [], None)
    assert diff["counts"]["passed"]["after"] is None
    assert "has left no snapshot (running)" in diff["records"]["unknown"]


def test_a_run_is_not_compared_with_itself_nor_with_another_pipelines(shop):
    run = shop.ran()
    with pytest.raises(Misconfigured, match="nothing to compare"):
        run_diff(shop.open(), "classify", run, run)
    shop.pipeline("other", extract={"source": "data/reviews.csv", "key": "id"})
    other = shop.ran("other")
    with pytest.raises(Misconfigured, match="is one of `other`"):
        run_diff(shop.open(), "classify", run, other)


def test_changes_name_the_path_of_each_value():
    old = {"a": {"b": 1, "c": [1]}, "gone": None, "same": {"x": 1}}
    new = {"a": {"b": 2, "c": [1, 2]}, "came": "y", "same": {"x": 1}}
    assert changes_between(old, new) == [
        {"what": "a.b", "before": 1, "after": 2},
        {"what": "a.c", "before": [1], "after": [1, 2]},
        {"what": "gone", "before": None, "after": None},
        {"what": "came", "before": None, "after": "y"},
    ]
    assert text_diff("a\nb", "a\nb", "p") == []
    assert text_diff(None, "a", "p")[-1] == "+a"
