"""Alerts through the command line: what goes wrong is told, seen, answered, and told to be over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.journeys.project import Project
from tests.servers.inbox import Inbox, inbox

PROMPT = """---
version: v1
examples:
  - input: I love it, great
    output: '{"sentiment": "positive"}'
  - input: terrible, I hate it
    output: '{"sentiment": "negative"}'
---
{{ input.text }}
"""
LABELS = {"a": "I love it, great", "b": "terrible, I hate it", "c": "I love it, great"}


@pytest.fixture
def place() -> Iterator[Inbox]:
    with inbox() as opened:
        yield opened


@pytest.fixture
def reviews(project: Project, place: Inbox) -> Project:
    """Everything is told to `ops`; the gate fails until `batch_threshold` is lowered."""
    channel = "[tool.loom.channels.ops]\ntype = 'webhook'\n"
    project.write("pyproject.toml", f'[tool.loom]\nmodel = "offline/demo"\nalerts = "ops"\n{channel}')
    project.environ = {
        "LOOM_CHANNEL_OPS": f"{place.url}/url-secret",
        "LOOM_CHANNEL_OPS_SECRET": "sign-secret",
    }
    project.write("prompts/classify.txt", PROMPT)
    project.reviews(LABELS)
    judged(project, 0.9)
    return project


def judged(project: Project, threshold: float, **load: object) -> None:
    shape = {"name": "shape", "type": "contains", "field": "sentiment", "substrings": ["positive"]}
    project.pipeline(evaluate={"evaluators": [shape], "batch_threshold": threshold}, load=load)


def told(place: Inbox) -> list[tuple[str, str]]:
    return sorted((p.json["event"], p.json["check"]) for p in place.took)


def quarantined(outcome: dict) -> int:
    return outcome["counts"]["quarantined"]


def test_a_held_batch_is_told_seen_and_released_by_the_id_of_its_run(reviews: Project, place: Inbox) -> None:
    outcome = reviews.run().outcome
    assert outcome["status"] == "held"
    assert place.posted == []  # written; nobody has delivered yet
    assert reviews.loom("alerts", "deliver").code == 0
    assert told(place) == [("failed", "quality_gate"), ("failed", "shape")]
    assert len(place.took[0].json["worst"]) == min(quarantined(outcome), 3)

    shown = reviews.loom("alerts", "--json").json
    assert {d["state"] for alert in shown["alerts"] for d in alert["deliveries"]} == {"delivered"}
    one = shown["alerts"][0]["alert_id"]
    assert reviews.loom("alerts", "ack", one[:6], "--why", "on it").code == 0
    assert "acknowledged" in reviews.loom("alerts").out

    released = reviews.loom("release", outcome["run_id"], "--why", "looked at it", "--no-load")
    assert released.code == 0, released.err
    reviews.loom("alerts", "deliver")
    assert ("recovered", "quality_gate") in told(place)
    assert reviews.loom("release", outcome["run_id"], "--why", "again").code == 2


def test_what_passes_again_has_recovered(reviews: Project, place: Inbox) -> None:
    reviews.run()
    judged(reviews, 0.1)
    assert reviews.run().code == 0
    reviews.loom("alerts", "deliver")
    assert ("recovered", "quality_gate") in told(place)
    assert ("recovered", "shape") in told(place)
    assert reviews.loom("alerts", "list", "--open", "--json").json["alerts"] == []


def test_a_dead_channel_is_shown_and_nothing_is_lost(reviews: Project, place: Inbox) -> None:
    place.answer = lambda posted: (503, {})
    reviews.run()
    down = reviews.loom("alerts", "deliver")
    assert down.code == 1
    assert "ops does not work: 127.0.0.1 answered 503" in down.out
    assert "2 alerts waiting" in reviews.loom("alerts").out
    place.answer = lambda posted: (200, {})
    assert reviews.loom("alerts", "resend", "--channel", "ops").code == 0
    assert reviews.loom("alerts", "deliver", "--json").json == {"sent": 2, "failing": []}


def test_skipped_records_and_trials_raise_none(reviews: Project, place: Inbox) -> None:
    reviews.run("classify", "--limit", "1")
    judged(reviews, 0.1, on_failure="skip")
    reviews.run()
    assert reviews.loom("alerts", "--json").json["alerts"] == []


def test_a_run_that_cannot_start_is_told(reviews: Project, place: Inbox) -> None:
    (reviews.root / "data/reviews.parquet").unlink()
    assert reviews.run().code == 2
    reviews.loom("alerts", "deliver")
    assert told(place) == [("failed", "run_failed")]
    reviews.reviews(LABELS)
    reviews.run()
    reviews.loom("alerts", "deliver")
    assert ("recovered", "run_failed") in told(place)


def test_a_load_that_fails_is_told_and_recovers(reviews: Project, place: Inbox) -> None:
    reviews.run()
    blocked = reviews.root / "out"
    blocked.write_text("a file where a folder should be")
    assert reviews.loom("release", "classify", "--why", "fine").code != 0
    blocked.unlink()
    assert reviews.loom("load", "classify").code == 0
    reviews.loom("alerts", "deliver")
    assert {("failed", "load_failed"), ("recovered", "load_failed")} <= set(told(place))


def test_muting_testing_and_bad_input(reviews: Project, place: Inbox) -> None:
    assert reviews.loom("alerts", "mute", "classify", "--for", "2h", "--why", "known").code == 0
    reviews.run()
    assert reviews.loom("alerts", "deliver", "--json").json["sent"] == 0
    assert "is muted until" in reviews.loom("alerts").out
    assert reviews.loom("alerts", "unmute", "classify").code == 0
    assert reviews.loom("alerts", "test", "ops").code == 0
    assert told(place) == [("failed", "test")]
    place.answer = lambda posted: (404, {})
    assert reviews.loom("alerts", "test", "ops").code == 1
    for words in (
        ("mute", "clasify", "--for", "2h", "--why", "x"),
        ("mute", "classify", "--for", "soon", "--why", "x"),
        ("ack", "nothing", "--why", "x"),
        ("resend",),
        ("test", "opps"),
    ):
        assert reviews.loom("alerts", *words).code == 2, words


def test_validate_says_who_hears_of_what_and_which_secret_is_missing(reviews: Project) -> None:
    assert "any: ops" in reviews.loom("validate", "classify").out
    reviews.environ = {}
    done = reviews.loom("validate", "classify")
    assert done.code == 0
    assert "LOOM_CHANNEL_OPS is not in the environment" in done.out + done.err


def test_no_secret_is_anywhere_in_the_project(reviews: Project, place: Inbox) -> None:
    place.answer = lambda posted: (500, {})
    reviews.run()
    said = [reviews.loom("alerts", "deliver"), reviews.loom("alerts", "--json"), reviews.loom("validate")]
    kept = b"".join(path.read_bytes() for path in reviews.root.rglob("*") if path.is_file())
    for secret in ("url-secret", "sign-secret"):
        assert secret.encode() not in kept
        assert not any(secret in run.out + run.err for run in said)
