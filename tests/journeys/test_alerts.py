"""Alerts through the command line: what goes wrong is told, seen, answered, and told to be over."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import duckdb
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


def test_what_a_database_says_of_a_row_is_for_the_terminal_only(reviews: Project, place: Inbox) -> None:
    with duckdb.connect(str(reviews.root / "shop.duckdb")) as shop:
        shop.execute("CREATE TABLE notes AS SELECT 'a' AS id, 'it is confidential' AS text")
        shop.execute("CREATE VIEW reviews AS SELECT id, text::INTEGER::VARCHAR AS text FROM notes")
    reviews.pipeline(extract={"source": "duckdb:///shop.duckdb/reviews", "key": "id"})
    ran = reviews.run()
    assert ran.code == 2
    assert "it is confidential" in ran.out + ran.err
    reviews.loom("alerts", "deliver")
    [message] = place.took
    assert message.json["check"] == "run_failed"
    assert "shop.duckdb" in message.json["summary"]
    assert "confidential" not in str(message.json)


def test_a_load_that_fails_is_told_and_recovers(reviews: Project, place: Inbox) -> None:
    reviews.run()
    blocked = reviews.root / "out"
    blocked.write_text("a file where a folder should be")
    assert reviews.loom("release", "classify", "--why", "fine").code != 0
    blocked.unlink()
    assert reviews.loom("load", "classify").code == 0
    reviews.loom("alerts", "deliver")
    assert {("failed", "load_failed"), ("recovered", "load_failed")} <= set(told(place))


def test_a_load_of_which_every_row_is_refused_is_told_without_what_the_database_says(
    reviews: Project, place: Inbox
) -> None:
    with sqlite3.connect(reviews.root / "out.db") as database:
        database.execute(
            "CREATE TABLE moods (id TEXT PRIMARY KEY, sentiment TEXT CHECK (sentiment = 'none'))"
        )
    judged(reviews, 0.1, destination="sqlite:///out.db/moods", columns=["id", "sentiment"])
    reviews.run()
    reviews.loom("alerts", "deliver")
    [word] = [p.json for p in place.took if p.json["check"] == "load_failed"]
    assert "rows were refused; the quarantine says why" in word["summary"]
    assert b"CHECK" not in b"".join(p.body for p in place.took)
    with sqlite3.connect(reviews.root / "out.db") as database:
        database.execute("DROP TABLE moods")
    assert reviews.loom("load", "classify").code == 0
    assert "load_failed" not in reviews.loom("alerts", "list", "--open").out


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
        ("mute", "classify", "--for", "0s", "--why", "x"),
        ("mute", "classify", "--for", "99999999d", "--why", "x"),
        ("unmute", "clasify"),
        ("list", "clasify"),
        ("resend", "--channel", "opps"),
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


@pytest.fixture
def daily(project: Project, place: Inbox) -> Project:
    """Two days, of which each has one good and one bad record; more than a tenth rejected holds a day."""
    channels = "[tool.loom.channels.ops]\ntype = 'webhook'\n[tool.loom.channels.desk]\ntype = 'webhook'\n"
    project.write("pyproject.toml", f'[tool.loom]\nmodel = "offline/demo"\n{channels}')
    for name in ("OPS", "DESK"):
        project.environ |= {f"LOOM_CHANNEL_{name}": f"{place.url}/{name}", f"LOOM_CHANNEL_{name}_SECRET": "s"}
    project.write("prompts/classify.txt", PROMPT)
    for day in DAYS:
        project.reviews({f"{day}-a": LABELS["a"], f"{day}-b": LABELS["b"]}, f"data/{day}.parquet")
    watched(project, 0.1)
    return project


DAYS = ("2026-01-01", "2026-01-02")


def watched(project: Project, most: float) -> None:
    shape = {"name": "shape", "type": "contains", "field": "sentiment", "substrings": ["positive"]}
    project.pipeline(
        extract={
            "source": "data/{{ partition }}.parquet",
            "partitions": {"every": "daily", "start": DAYS[0], "end": "2026-01-03"},
        },
        evaluate={"evaluators": [shape]},
        load={"destination": "out/"},
        monitoring={
            "rejection_rate": {"max_rate": most, "blocking": True},
            "alerts": [
                {"type": "rejection_rate", "channel": "ops"},
                {"type": "quality_gate", "channels": ["ops", "desk"]},
            ],
        },
    )


def by_day(place: Inbox) -> list[tuple[str, str, str, str]]:
    return sorted((p.path, p.json["event"], p.json["partition"], p.json["check"]) for p in place.took)


def test_a_monitor_that_holds_a_day_is_one_alert_for_its_own_channels_and_the_gates(
    daily: Project, place: Inbox
) -> None:
    ran = daily.run("classify", *(f"--partition={day}" for day in DAYS))
    assert [r["status"] for r in ran.json["runs"]] == ["held", "held"]
    daily.loom("alerts", "deliver")
    failed = [("failed", day, "rejection_rate") for day in DAYS]
    assert by_day(place) == [(path, *rest) for path in ("/DESK", "/OPS") for rest in failed]
    assert {(p.json["value"], p.json["threshold"]) for p in place.took} == {(0.5, 0.1)}
    assert len({p.json["incident"] for p in place.took}) == len(DAYS)

    place.took.clear()
    done = daily.loom("release", "classify", "--partition", DAYS[0], "--why", "looked at it")
    assert done.code == 0, done.err
    daily.loom("alerts", "deliver")
    assert by_day(place) == [(p, "recovered", DAYS[0], "rejection_rate") for p in ("/DESK", "/OPS")]

    place.took.clear()
    watched(daily, 0.9)
    daily.run("classify", "--partition", DAYS[1])
    daily.loom("alerts", "deliver")
    assert by_day(place) == [(p, "recovered", DAYS[1], "rejection_rate") for p in ("/DESK", "/OPS")]
    assert daily.loom("alerts", "list", "--open", "--json").json["alerts"] == [
        alert
        for alert in daily.loom("alerts", "list", "--json").json["alerts"]
        if alert["check_name"] == "shape" and alert["event"] == "failed"
    ]


def test_a_load_of_a_day_that_fails_is_told_once_with_its_day(daily: Project, place: Inbox) -> None:
    daily.run("classify", "--partition", DAYS[0])
    blocked = daily.root / "out"
    blocked.write_text("a file where a folder should be")
    assert daily.loom("release", "classify", "--partition", DAYS[0], "--why", "fine").code != 0
    assert daily.loom("load", "classify", "--partition", DAYS[0]).code != 0
    alerts = daily.loom("alerts", "list", "--json").json["alerts"]
    assert [(a["partition"], a["event"]) for a in alerts if a["check_name"] == "load_failed"] == [
        (DAYS[0], "failed")
    ]
    blocked.unlink()
    assert daily.loom("load", "classify", "--partition", DAYS[0]).code == 0
    assert "load_failed" not in daily.loom("alerts", "list", "--open").out


def test_records_tried_again_say_nothing_of_monitors_that_did_not_look(daily: Project, place: Inbox) -> None:
    daily.run("classify", "--partition", DAYS[0])
    before = daily.loom("alerts", "list", "--json").json["alerts"]
    again = daily.loom("quarantine", "retry", "classify", "--partition", DAYS[0], "--all", "--json")
    assert again.outcome["status"] == "held"
    alerts = daily.loom("alerts", "list", "--json").json["alerts"]
    new = [a for a in alerts if a["alert_id"] not in {b["alert_id"] for b in before}]
    assert {a["partition"] for a in new} == {DAYS[0]}
    assert all(a["event"] == "failed" for a in new)


def test_a_partition_that_is_not_there_is_said_to_be_so(daily: Project) -> None:
    for words in (
        ("release", "classify", "--why", "x"),
        ("release", "classify", "--why", "x", "--partition", "2027-01-01"),
        ("quarantine", "list", "classify", "--partition", "2027-01-01"),
        ("quarantine", "resolve", "classify", "a", "--why", "x", "--partition", "2027-01-01"),
    ):
        done = daily.loom(*words)
        assert done.code == 2, words
        assert "partition" in done.err
        assert len(done.err.strip().splitlines()) == 1


def test_a_pipeline_whose_file_is_broken_is_told(reviews: Project, place: Inbox) -> None:
    reviews.write("pipelines/classify.yaml", "name: classify\nextract: {sauce: data/reviews.parquet}\n")
    assert reviews.run().code == 2
    reviews.loom("alerts", "deliver")
    assert told(place) == [("failed", "run_failed")]
    assert "is missing" in place.took[0].json["summary"]
