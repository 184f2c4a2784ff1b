"""From a record's id to everything that happened to it, proven where it can be and said where it cannot."""

from __future__ import annotations

import shutil
import sqlite3

import pytest

from loom_dagster.assembly.describing import run_lineage
from loom_dagster.errors import Misconfigured
from loom_dagster.ledger import IndexRow
from tests.servers.llm import LLMServer


def serve(shop, server, **transform):
    shop.environ = {"OPENAI_API_KEY": "k"}
    shop.pipeline(
        extract={"source": "data/reviews.csv", "key": "id"},
        transform={"prompt": "classify", "model": "openai/any", "api_base": server.base_url, **transform},
        evaluate={
            "evaluators": [
                {"name": "agrees", "type": "exact_match", "field": "sentiment", "reference_field": "label"}
            ]
        },
        load={"on_failure": "retry", "retries": 1},
    )


def test_a_record_that_passed_is_told_from_source_to_destination(shop):
    run = shop.ran()
    told = next(t for t in (shop.trace(f"r{i}") for i in range(4)) if t["state"] == "passed")
    at = told["record_id"][1:]
    assert told["run"] == told["made_by_run"] == run
    assert told["source"]["columns"]["text"] == f"text {at}"
    assert told["prompt"]["messages"][-1]["content"].startswith(f"Be fair.\nReview: text {at}\n")
    assert told["prompt"]["verified"] is True
    assert (told["prompt"]["version"], told["prompt"]["contexts"]) == ("v1", {"rules": "r1"})
    [answer] = told["answers"]
    assert (answer["state"], answer["purpose"], answer["key"]) == (
        "stored",
        "transform",
        told["prompt"]["key"],
    )
    assert [(s["name"], s["value"], s["threshold"]) for s in told["scores"]] == [
        ("agrees", 1.0, 1.0),
        ("long enough", 1.0, 0.5),
    ]
    place = told["destination"]
    assert (place["uri"], place["key"], place["loaded"]) == ("out/classify.parquet", {"id": f"r{at}"}, True)
    assert place["columns"] == next(row for row in shop.table() if row["id"] == f"r{at}")


def test_a_record_in_quarantine_says_why_and_what_became_of_it(shop):
    shop.ran()
    told = shop.trace("r3")
    assert (told["state"], told["verdict"]["stage"], told["verdict"]["kind"]) == (
        "quarantined",
        "evaluate",
        "gate_failed",
    )
    assert told["prompt"]["verified"]
    assert "`nothing`" in told["scores"][0]["explanation"]
    assert told["destination"] is None
    shop.open().resolve("classify", ["r3"], resolution="spam", who="ada")
    verdict = shop.trace("r3")["verdict"]
    assert (verdict["resolution"], verdict["resolved_by"]) == ("spam", "ada")


def test_the_prompt_is_that_of_the_run_and_not_the_one_that_lies_there_now(shop):
    run = shop.ran()
    shop.write("prompts/classify.txt", "---\nversion: v2\n---\nSomething else: {{ input.text }}\n")
    (shop.root / "context/rules.md").unlink()
    told = shop.trace("r1")
    assert told["prompt"]["verified"]
    assert told["prompt"]["messages"][-1]["content"].startswith("Be fair.\nReview: text 1\n")
    newer = shop.ran()
    assert shop.trace("r1")["prompt"]["messages"][-1]["content"] == "Something else: text 1"
    assert shop.trace("r1")["also_in"][0]["run"] == run
    assert shop.trace("r1", run=run)["prompt"]["version"] == "v1"
    assert newer != run


def test_every_answer_of_a_record_is_told_in_the_order_it_was_had(shop):
    answers = iter(['{"sentiment": "odd"}', '{"sentiment": "negative"}', '{"sentiment": "positive"}'])
    with LLMServer(answer=lambda request: next(answers)) as server:
        serve(shop, server)
        shop.write("data/reviews.csv", "id,text,label\nr0,text 0,positive\n")
        shop.ran()
    told = shop.trace("r0")
    assert [(a["purpose"], a["text"]) for a in told["answers"]] == [
        ("transform", '{"sentiment": "odd"}'),
        ("repair", '{"sentiment": "negative"}'),
        ("transform", '{"sentiment": "positive"}'),
    ]
    assert told["attempts"] == 2
    assert told["prompt"]["verified"]
    assert told["answers"][0]["sample"] == 0
    assert told["answers"][0]["input_tokens"] > 0


def test_an_answer_that_two_records_share_is_told_of_both(shop):
    shop.write("data/reviews.csv", "id,text,label\na,same,positive\nb,same,positive\n")
    with LLMServer(text='{"sentiment": "positive"}') as server:
        serve(shop, server)
        shop.ran()
        assert server.stats()["paid"] == 1
    [one], [other] = (shop.trace(i)["answers"] for i in ("a", "b"))
    assert one["key"] == other["key"]
    assert {one["asked_for"], other["asked_for"]} in ({None, "a"}, {None, "b"})
    assert shop.trace("a")["prompt"]["verified"] and shop.trace("b")["prompt"]["verified"]


@pytest.mark.parametrize(
    ("cache", "words"),
    [({"enabled": False}, ""), ({"key_fields": ["text"]}, "key_fields (text)"), ({"ttl": "7d"}, "")],
    ids=["no cache", "key fields", "ttl"],
)
def test_the_cache_settings_are_minded_when_the_question_is_proven(shop, cache, words):
    with LLMServer(text='{"sentiment": "positive"}') as server:
        serve(shop, server, cache=cache, max_tokens=77, temperature=0.5)
        shop.ran()
    told = shop.trace("r0")
    assert told["prompt"]["verified"]
    assert words in told["prompt"]["why"]


def test_an_answer_that_is_gone_or_is_a_newer_one_is_said_to_be(shop):
    shop.ran()
    store = sqlite3.connect(shop.root / ".loom" / "answers.sqlite")
    store.execute("UPDATE answers SET created_at = created_at + 1000 WHERE record_id = 'r0'")
    store.execute("DELETE FROM answers WHERE record_id = 'r1'")
    store.commit()
    store.close()
    assert [a["state"] for a in shop.trace("r0")["answers"]] == ["replaced"]
    told = shop.trace("r1")
    assert [a["state"] for a in told["answers"]] == ["gone"]
    assert told["prompt"]["verified"], "the record itself keeps which question it was"
    (shop.root / ".loom" / "answers.sqlite").unlink()
    assert [a["state"] for a in shop.trace("r0")["answers"]] == ["gone"]


def test_a_row_that_was_changed_is_not_verified(shop):
    shop.ran()
    import pyarrow.parquet as pq

    [path] = (shop.root / ".loom").glob("datasets/classify/all/*/transformed.parquet")
    table = pq.read_table(path)
    record = table.column("_loom_record_id")[0].as_py()
    at = table.column_names.index("text")
    pq.write_table(table.set_column(at, "text", [["forged"] * table.num_rows]), path)
    told = shop.trace(record)
    assert told["prompt"]["verified"] is False
    assert told["prompt"]["why"] == "the answers belong to other questions"


def test_a_row_that_was_refused_when_it_was_read_has_no_prompt(shop):
    shop.write("data/reviews.csv", "id,text,label\nr0,one,positive\nr0,two,positive\n,three,positive\n")
    shop.ran()
    told = shop.trace("r0#2")
    assert (told["state"], told["source"]["columns"]["text"]) == ("rejected", "two")
    assert (told["answers"], told["prompt"]["messages"]) == ([], None)
    assert "refused when it was read" in told["prompt"]["why"]


def test_a_skipped_record_says_so(shop):
    shop.pipeline(
        extract={"source": "data/reviews.csv", "key": "id"},
        evaluate={"evaluators": [{"name": "agrees", "type": "exact_match", "field": "sentiment", "reference_field": "label"}]},
        load={"on_failure": "skip"},
    )  # fmt: skip
    shop.ran()
    assert shop.trace("r3")["state"] == "skipped"


def test_a_deferred_record_says_why(shop):
    with LLMServer(status=401) as server:
        serve(shop, server)
        shop.ran()
    told = shop.trace("r2")
    assert told["state"] == "deferred"
    assert "row is not kept" in told["prompt"]["why"]
    assert told["verdict"]["reason"]


def test_a_record_that_was_tried_again_is_told_by_the_run_that_settled_it(shop):
    first = shop.ran()
    shop.write(
        "data/reviews.csv", (shop.root / "data/reviews.csv").read_text().replace("nothing", "positive")
    )
    with LLMServer(text='{"sentiment": "nothing"}') as server:
        shop.environ = {"OPENAI_API_KEY": "k"}
        shop.pipeline(
            extract={"source": "data/reviews.csv", "key": "id"},
            transform={"model": "openai/any", "api_base": server.base_url},
            evaluate={"evaluators": [{"name": "agrees", "type": "exact_match", "field": "sentiment", "reference_field": "label"}]},
            load={"schema": {"sentiment": "string"}},
        )  # fmt: skip
        again = shop.open().retry("classify", ["r3"]).run_id
    told = shop.trace("r3")
    assert (told["run"], told["made_by_run"], told["state"]) == (again, again, "passed")
    assert told["prompt"]["verified"]
    assert (told["answers"][0]["model"], told["answers"][0]["sample"]) == ("openai/any", 1)
    other = next(t for t in (shop.trace(f"r{i}") for i in range(3)) if t["state"] == "passed")
    assert (other["run"], other["made_by_run"]) == (again, first)
    assert other["prompt"]["verified"]
    assert other["answers"][0]["model"] == "offline/demo"


def test_a_record_of_another_pipelines_output_names_its_parent(shop):
    shop.pipeline("second", extract={"source": "pipeline://classify", "key": "id"},
                  transform={"prompt": "prompts/again.txt"}, load={"schema": {"again": "string"}})  # fmt: skip
    shop.pipeline("third", extract={"source": "pipeline://classify", "key": None},
                  transform={"prompt": "prompts/again.txt"}, load={"schema": {"again": "string"}})  # fmt: skip
    shop.write("prompts/again.txt", "{{ input.text }} is {{ input.sentiment }}")
    for name in ("classify", "second"):
        shop.ran(name)
    passed = shop.table()[0]["id"]
    told = shop.trace(passed, "second")
    assert told["parents"] == [{"pipeline": "classify", "record_id": passed}]
    assert set(told["source"]["columns"]) == {"id", "text", "label", "sentiment"}
    assert told["prompt"]["verified"]


def test_partitions_are_looked_through_newest_run_first(shop):
    shop.write("data/a.csv", "id,text,label\nr0,in a,positive\n")
    shop.write("data/b.csv", "id,text,label\nr0,in b,positive\n")
    shop.pipeline(
        extract={"source": "data/{{ partition }}.csv", "key": "id", "partitions": ["a", "b"]},
        load={"destination": "out/"},
    )
    runs = {key: shop.ran(partition=key) for key in ("a", "b")}
    newest = max(runs, key=lambda key: runs[key])
    other = min(runs, key=lambda key: runs[key])
    told = shop.trace("r0")
    assert (told["partition"], told["source"]["columns"]["text"]) == (newest, f"in {newest}")
    assert told["also_in"] == [{"run": runs[other], "partition": other, "table": "transformed"}]
    assert shop.trace("r0", partition=other)["source"]["columns"]["text"] == f"in {other}"
    assert shop.trace("r0", run=runs[other])["partition"] == other


def test_a_trial_is_only_told_when_its_run_is_named(shop):
    trial = shop.ran(limit=2)
    with pytest.raises(Misconfigured, match="no record of `classify`"):
        shop.trace("r0")
    told = shop.trace("r0", run=trial)
    assert told["prompt"]["verified"]
    assert told["destination"] is None or not told["destination"]["loaded"]
    assert run_lineage(shop.open(), "classify", trial)["trial"] is True


def test_what_an_older_version_left_is_told_as_far_as_it_goes(shop):
    run = shop.ran()
    for path in shop.folder(run).glob("*.idx"):
        path.unlink()
    ledger = sqlite3.connect(shop.root / ".loom" / "ledger.sqlite")
    ledger.execute("DELETE FROM texts")
    ledger.commit()
    ledger.close()
    told = shop.trace("r1")
    assert told["prompt"]["verified"] is False
    assert "kept no texts" in told["prompt"]["why"]
    assert told["answers"][0]["state"] == "stored"


def test_without_files_the_ledger_still_knows_the_quarantine(shop):
    run = shop.ran()
    shutil.rmtree(shop.folder(run))
    told = shop.trace("r3")
    assert (told["files"], told["state"], told["verdict"]["kind"]) == ("gone", "quarantined", "gate_failed")
    with pytest.raises(Misconfigured, match="files of its snapshots are gone") as refused:
        shop.trace("r99")
    assert "loom run classify --fresh" in str(refused.value)


def test_that_a_record_may_have_been_in_files_that_are_gone_is_said(shop):
    shutil.rmtree(shop.folder(shop.ran()))
    shop.ran(fresh=True)
    with pytest.raises(Misconfigured, match="1 of 2 snapshots cannot be looked into") as refused:
        shop.trace("zzz")
    assert "files of its snapshots are gone" in str(refused.value)


@pytest.mark.parametrize(
    ("record", "where", "words"),
    [
        ("r33", {}, "did you mean `r3`"),
        ("zzz", {}, "ids are the values of `id`, such as r"),
        ("r0", {"run": "20200101T000000-abcdef"}, "has no run"),
        ("r0", {"name": "clasify"}, "did you mean `classify`"),
    ],
)
def test_what_is_not_known_is_refused_with_words(shop, record, where, words):
    shop.ran()
    with pytest.raises(Misconfigured) as refused:
        shop.trace(record, **where)
    assert words in str(refused.value)


def test_a_run_of_another_pipeline_is_refused(shop):
    shop.pipeline("other", extract={"source": "data/reviews.csv", "key": "id"})
    run = shop.ran("other")
    with pytest.raises(Misconfigured, match="is one of `other`") as refused:
        shop.trace("r0", run=run)
    assert f"loom lineage other --run {run}" in str(refused.value)


def test_no_text_that_is_kept_holds_a_login(shop):
    shop.environ = {"OPENAI_API_KEY": "k"}
    shop.pipeline(
        extract={"source": "data/reviews.csv", "key": "id"},
        transform={"model": "openai/any", "api_base": "http://ada:s3cret@127.0.0.1:1/v1?token=t0ken"},
    )
    from loom_dagster.assembly.recipe import recipe_of

    loom = shop.open()
    with loom.scratch() as scratch:
        recipe = str(recipe_of(loom.prepared("classify", None, scratch)))
    assert "127.0.0.1:1/v1" in recipe
    assert "s3cret" not in recipe and "t0ken" not in recipe


def test_scores_of_names_that_look_alike_are_not_mixed_up(shop):
    shop.pipeline(
        extract={"source": "data/reviews.csv", "key": "id"},
        evaluate={
            "evaluators": [
                {"name": "b-c", "type": "regex", "field": "sentiment", "pattern": "....", "threshold": 0.5},
                {"name": "b c", "type": "regex", "field": "sentiment", "pattern": "never", "threshold": 0.0},
            ]
        },
    )
    shop.ran()
    assert [(s["name"], s["value"]) for s in shop.trace("r0")["scores"]] == [("b-c", 1.0), ("b c", 0.0)]


@pytest.mark.slow
def test_a_judges_call_is_among_the_answers_and_explains_the_score(shop):
    with LLMServer(text='{"sentiment": "positive"}') as server:
        shop.environ = {"OPENAI_API_KEY": "k"}
        shop.pipeline(
            extract={"source": "data/reviews.csv", "key": "id"},
            transform={"model": "openai/any", "api_base": server.base_url},
            evaluate={
                "evaluators": [{"name": "quality", "type": "custom_criteria", "criteria": "Is it good?"}]
            },
        )
        run = shop.ran()
    told = next(
        t for t in (shop.trace(f"r{i}") for i in range(4)) if t["answers"][-1]["purpose"] != "transform"
    )
    assert [a["purpose"] for a in told["answers"]][:2] == ["transform", "evaluate:quality"]
    judged = told["answers"][1]
    assert (judged["model"], judged["sample"]) == ("openai/any", None)
    [score] = told["scores"]
    assert score["explanation"] and score["explanation"] in judged["text"]
    roles = {m["role"]: m["name"] for m in run_lineage(shop.open(), "classify", run)["models"]}
    assert roles == {"transform": "openai/any", "evaluate:quality": "openai/any"}


def test_a_row_that_the_destination_refused_says_so_until_it_is_taken(shop):
    run = shop.ran()
    record = shop.table()[0]["id"]
    ledger = shop.open().ledger
    row = IndexRow(record_id=record, stage="load", kind="refused_row", reason="value too long")
    ledger.loaded("classify", run, refused=[row])
    told = shop.trace(record)
    assert (told["state"], told["destination"]["refused"], told["destination"]["loaded"]) == (
        "refused",
        "value too long",
        False,
    )
    ledger.loaded("classify", run)
    told = shop.trace(record)
    assert (told["state"], told["destination"]["loaded"]) == ("passed", True)


def test_which_answers_a_record_was_made_of_is_not_loaded_with_its_lineage(shop):
    shop.pipeline(extract={"source": "data/reviews.csv", "key": "id"}, load={"lineage": "columns"})
    shop.ran()
    assert {"_loom_run_id", "_loom_model"} <= set(shop.table()[0])
    assert "_loom_answers" not in shop.table()[0]
