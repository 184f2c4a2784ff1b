"""A run asks through a batch, waits, and goes on with its answers as if they had been asked for online."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from loom_dagster.assembly import Loom
from loom_dagster.errors import Misconfigured
from loom_dagster.events import Progress
from loom_dagster.gateway.batch_api import LIMITS, BatchLimits
from loom_dagster.pipeline import Stop
from tests.batches.conftest import PRICE

pytestmark = pytest.mark.service


def test_what_waits_is_deferred_keeps_no_snapshot_and_ends_with_0(project, server):
    project.texts(20)
    project.batch_pipeline()
    first = project.ask()
    assert first.status == "deferred" and first.waits and first.exit_code == 0
    assert first.counts.deferred == 20 and first.counts.conserved
    assert first.snapshot is None and not first.released
    assert [batch.requests for batch in first.batches] == [20]
    assert server.stats()["create"] == 1 and server.stats().get("online") is None
    assert Loom.open(project.root).ledger.outbox.list() == []  # nobody is alerted of it


def test_a_run_that_waits_is_not_asked_again_and_goes_on_when_the_batch_has_ended(project, server, passed):
    texts = project.texts(20)
    project.batch_pipeline()
    run_id = project.ask().run_id
    again = project.ask()
    assert again.waits and again.run_id == run_id
    assert again.batches[0].provider_state == "in_progress"
    server.finish()
    done = project.ask()
    assert done.status == "succeeded" and done.run_id == run_id and done.resumed
    assert passed(done) == list(texts)  # in the source's order, though the answers came in another
    assert len(project.table()) == 20
    stats = server.stats()
    assert (stats["create"], stats["lines"], stats["paid"], stats["repeated"]) == (1, 20, 20, 0)


def test_it_costs_what_the_provider_charges_and_the_run_says_so(project, server):
    project.texts(20)
    project.batch_pipeline()
    project.ask()
    server.finish()
    done = project.ask()
    assert done.spending.calls == 20 and done.spending.reused == 0
    assert done.spending.total == pytest.approx(server.stats()["cost"], abs=1e-9)
    books = project.books()
    assert books.spent == pytest.approx(server.stats()["cost"], abs=1e-9)
    assert (books.unconfirmed, books.reserved) == (0, 0)


def test_the_second_run_finds_every_answer_in_the_store(project, server):
    project.texts(5)
    project.batch_pipeline()
    project.ask()
    server.finish()
    project.ask()
    again = project.ask()
    assert again.status == "succeeded" and again.spending.calls == 0 and again.spending.reused == 5
    assert server.stats()["create"] == 1


@pytest.mark.parametrize("model", ["openai/any", "anthropic/claude-sonnet-4-5"])
def test_a_batch_holds_what_would_be_asked_online(project, server, model):
    project.texts(3)
    project.batch_pipeline(model=model)
    project.ask()
    in_batch = {json.dumps(line["body"], sort_keys=True) for line in server.lines()}
    project.batch_pipeline(model=model, transform={"mode": "online", "cache": {"enabled": False}})
    project.ask(fresh=True)
    assert {json.dumps(body, sort_keys=True) for body in server.bodies} == in_batch
    assert len(in_batch) == 3


def test_anthropic_speaks_its_own_batches(project, server, passed):
    texts = project.texts(12)
    server.per_line = {"text 1.": "500", "text 2.": "400", "text 3.": "expired", "text 4.": "length"}
    project.batch_pipeline(model="anthropic/claude-sonnet-4-5")
    assert project.ask().waits
    server.finish()
    second = project.ask()
    assert second.waits and second.counts.deferred == 2  # r1 and r3 are asked again
    server.per_line = {}
    server.finish()
    done = project.ask()
    assert done.status == "succeeded"
    assert project.quarantined(done) == {"r2": "bad_request", "r4": "truncated"}
    assert sorted([*passed(done), "r2", "r4"]) == sorted(texts)
    assert project.books().spent == pytest.approx(server.stats()["cost"], abs=1e-9)
    assert server.stats()["repeated"] == 0


def test_errors_of_single_lines_are_those_of_online_calls(project, server, passed):
    project.texts(10)
    server.per_line = {
        "text 0.": "400",
        "text 1.": "too_long",
        "text 2.": "refusal",
        "text 3.": "length",
        "text 4.": "malformed",
        "text 5.": "twice",
    }
    project.batch_pipeline()
    project.ask()
    server.finish()
    done = project.ask()
    assert project.quarantined(done) == {
        "r0": "bad_request",
        "r1": "too_long",
        "r2": "refused",
        "r3": "truncated",
    }
    assert passed(done) == ["r4", "r5", "r6", "r7", "r8", "r9"]
    assert server.stats()["online"] == 1  # r4's answer could not be read: it is repaired at once
    assert project.books().spent == pytest.approx(server.stats()["cost"], abs=1e-9)


def test_what_fails_for_a_while_goes_into_the_next_batch_three_times_at_most(project, server, passed):
    project.texts(6)
    server.per_line = {"text 0.": "500", "text 1.": "429"}
    project.batch_pipeline()
    project.ask()
    for expected in (2, 2):
        server.finish()
        waiting = project.ask()
        assert waiting.waits and waiting.counts.deferred == expected
    server.finish()
    done = project.ask()
    assert project.quarantined(done) == {"r0": "server_error", "r1": "rate_limit"}
    assert len(passed(done)) == 4
    assert [batch["lines"].__len__() for batch in server.batches.values()] == [6, 2, 2]
    assert server.stats()["repeated"] == 0


@pytest.mark.parametrize("state", ["expired", "cancelled"])
def test_what_a_batch_left_is_asked_again_and_what_it_answered_is_not(project, server, passed, state):
    texts = project.texts(10)
    project.batch_pipeline()
    project.ask()
    server.finish(state)
    second = project.ask()
    assert second.waits and second.counts.deferred == 5
    server.finish()
    done = project.ask()
    assert passed(done) == list(texts)
    assert server.stats()["paid"] == 10 and server.stats()["repeated"] == 0
    books = project.books()
    assert books.spent == pytest.approx(server.stats()["cost"], abs=1e-9) and books.unconfirmed == 0


def test_a_line_that_is_never_given_counts_as_perhaps_paid_and_is_asked_again(project, server, passed):
    project.texts(4)
    server.per_line = {"text 0.": "never"}
    project.batch_pipeline()
    project.ask()
    server.finish()
    server.per_line = {}
    assert project.ask().counts.deferred == 1
    server.finish()
    done = project.ask()
    assert len(passed(done)) == 4
    books, charged = project.books(), server.stats()["cost"]
    assert books.unconfirmed > 0 and books.spent < charged <= books.spent + books.unconfirmed


def test_a_batch_that_is_refused_as_a_whole_costs_nothing_and_says_why(project, server):
    project.texts(4)
    project.batch_pipeline()
    project.ask()
    server.finish("failed")
    with pytest.raises(Misconfigured, match=r"refused batch .* of 4 questions.*the file has an invalid line"):
        project.ask()
    books = project.books()
    assert (books.spent, books.unconfirmed, books.reserved) == (0, 0, 0)
    assert project.ask().waits  # what was wrong is mended: it is asked again
    assert server.stats()["create"] == 2


def test_a_question_that_no_batch_can_hold_is_quarantined_and_the_others_are_sent(
    project, server, passed, monkeypatch
):
    monkeypatch.setitem(LIMITS, "openai", BatchLimits(50_000, 4_000))
    project.reviews({"long": "x" * 4_000, "a": "fine.", "b": "too."})
    project.batch_pipeline()
    assert project.ask().counts.quarantined == 1
    server.finish()
    done = project.ask()
    assert project.quarantined(done) == {"long": "too_large"} and passed(done) == ["a", "b"]


def test_a_mistake_that_all_questions_share_stops_the_run_and_quarantines_nothing(project, server, passed):
    project.texts(6)
    server.per_line = {"text": "400"}
    project.batch_pipeline()
    project.ask()
    server.finish()
    with pytest.raises(Misconfigured, match="rejected each of the 6 questions") as raised:
        project.ask()
    assert raised.value.kind == "bad_request"
    server.per_line = {}
    assert project.ask().counts.deferred == 6
    server.finish()
    assert len(passed(project.ask())) == 6


def test_a_batch_that_the_provider_has_forgotten_counts_at_its_worst_case(project, server):
    project.texts(4)
    project.batch_pipeline()
    worst = project.ask().batches[0].reserved
    server.batches.clear()
    assert project.ask().waits  # asked again, in another batch
    assert project.books().unconfirmed == pytest.approx(worst)


def test_one_question_is_asked_once_however_many_records_and_pipelines_have_it(project, server, passed):
    project.reviews({"a": "same.", "b": "other."})
    project.write("prompts/classify.txt", "Classify: {{ input.text }}")
    project.batch_pipeline()
    project.batch_pipeline("twin")
    first, second = project.ask(), project.ask("twin")
    assert second.waits and second.batches[0].batch == first.batches[0].batch
    assert server.stats()["lines"] == 2
    server.finish()
    assert len(passed(project.ask("twin"))) == 2
    assert len(passed(project.ask())) == 2
    assert server.stats()["lines"] == 2


def test_an_order_is_split_by_the_limit_and_every_part_is_waited_for(project, server, passed, monkeypatch):
    monkeypatch.setenv("LOOM_BATCH_REQUESTS", "7")
    texts = project.texts(20)
    project.batch_pipeline()
    first = project.ask()
    assert sorted(batch.requests for batch in first.batches) == [6, 7, 7]
    server._end(next(iter(server.batches.values())), "completed")
    part = project.ask()
    assert part.waits and len(part.batches) == 2
    server.finish()
    assert passed(project.ask()) == list(texts)


def test_answers_of_a_prompt_that_was_changed_since_are_kept_all_the_same(project, server):
    project.texts(4)
    project.batch_pipeline()
    project.ask()
    project.write("prompts/classify.txt", "Another prompt: {{ input.text }}")
    second = project.ask()
    assert second.waits and not second.resumed and server.stats()["create"] == 2
    server.finish()
    project.ask()
    with closing(Loom.open(project.root).answers()) as store:
        assert store.count() == 8
    assert project.books().spent == pytest.approx(server.stats()["cost"], abs=1e-9)


def test_a_run_that_is_interrupted_sends_nothing_and_the_next_one_all(project, server, passed):
    texts, stop = project.texts(3000), Stop()
    project.batch_pipeline()

    def listen(event: object) -> None:
        if isinstance(event, Progress) and event.extracted:
            stop.request()

    first = Loom.open(project.root).run("classify", listen=listen, stop=stop)
    assert first.status == "interrupted" and first.exit_code == 130
    assert server.stats()["batches"] == 0 and project.books().reserved == 0
    assert list((project.root / ".loom" / "batches").glob("*.jsonl")) == []
    assert project.ask().counts.deferred == 3000
    server.finish()
    assert passed(project.ask()) == list(texts)


def test_trials_and_the_quarantine_ask_at_once(project, server):
    project.texts(4)
    server.per_line = {"text 3.": "400"}
    project.batch_pipeline()
    trial = project.ask(limit=2)
    assert trial.status == "succeeded" and server.stats()["online"] == 2
    assert any("a trial does not wait" in note for note in trial.notes)
    project.ask()
    server.finish()
    project.ask()
    outcome = Loom.open(project.root).retry("classify", None)
    assert outcome.counts.passed == 4 and server.stats()["online"] == 3
    assert server.stats()["create"] == 1


def test_the_key_is_in_no_file(project, server):
    project.texts(4)
    project.batch_pipeline()
    project.ask()
    files = [path for path in Path(project.root).rglob("*") if path.is_file()]
    assert any(path.suffix == ".jsonl" for path in files)
    assert [path for path in files if b"key-1234" in path.read_bytes()] == []
    server.finish()
    project.ask()
    left = [path.name for path in (project.root / ".loom" / "batches").iterdir() if path.suffix == ".jsonl"]
    assert left == []  # what was asked is not kept


@pytest.mark.parametrize(
    ("transform", "extract", "words"),
    [
        ({"model": "groq/llama-3.1-8b-instant"}, {}, "`groq/llama-3.1-8b-instant` has no batch API"),
        ({"model": "gemini/gemini-2.0-flash"}, {}, "or a model of OpenAI, Anthropic"),
        ({}, {"source": "redis://events/reviews"}, "a stream is consumed as it comes"),
        ({"mode": "batches"}, {}, "did you mean `batch`"),
    ],
)
def test_what_cannot_be_is_said_by_validate(project, server, transform, extract, words):
    project.texts(1)
    project.environ |= {"GROQ_API_KEY": "k", "GEMINI_API_KEY": "k"}
    project.write("pyproject.toml", '[tool.loom]\n[tool.loom.connections]\nevents = "redis://127.0.0.1:1"\n')
    base = {"model": "openai/any", "mode": "batch", "price": PRICE}
    project.pipeline(transform={**base, **transform}, extract=extract)
    run = project.loom("validate", "classify")
    assert run.code == 2 and words in " ".join((run.out + run.err).split())


def test_offline_models_answer_at_once_and_it_is_said(project):
    project.texts(2)
    project.pipeline(transform={"model": "offline/demo", "mode": "batch"})
    outcome = project.ask()
    assert outcome.status == "succeeded"
    assert any("answers at once" in note for note in outcome.notes)
