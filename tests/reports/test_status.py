"""`loom status`: a line a pipeline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from loom_dagster.ledger import Budgets, Fault, Findings
from loom_dagster.spec.cron import next_time


def status_of(project):
    return {each["name"]: each for each in project.loom("status", "--json").json["pipelines"]}


def test_every_state_is_said_in_one_word(project):
    for name in ("good", "held", "deferred", "broke_off", "new"):
        project.pipeline(name)
    project.write("pipelines/broken.yaml", "name: broken\nextract: {sauce: x}\n")
    project.ran("good")
    project.ran("held", status="held")
    project.ran("deferred", status="deferred")
    with project.ledger() as ledger:
        ledger.leave_run(ledger.begin_run("broke_off", "", "f"))
        going_on = ledger.begin_run("good", "", "f", fresh=True)
        assert status_of(project)["good"]["state"] == "running"
        ledger.finish_run(going_on, "failed", outcome={})
    found = status_of(project)
    assert {name: each["state"] for name, each in found.items()} == {
        "broke_off": "open", "broken": "broken file", "deferred": "deferred", "good": "failed", "held": "held",
        "new": "never run",
    }  # fmt: skip
    said = project.loom("status")
    assert said.code == 0
    assert "pipelines/broken.yaml" in said.out


def test_what_waits_and_what_was_spent_is_shown(project):
    project.write("pyproject.toml", "[tool.loom]\nmodel = 'offline/demo'\nmonthly_budget = 20.0\n")
    project.pipeline("reviews", "monitoring: {cost_budget: {day: 2.0}}\n")
    project.clock.time = datetime.now(UTC) - timedelta(hours=1)
    run_id = project.ran("reviews", wrong=3)
    with project.ledger() as ledger:
        ledger.outbox.tell(
            "reviews", "", Findings(failed=[Fault(check="cost_spike", run_id=run_id)]), run_id=run_id
        )
        run = ledger.begin_run("reviews", "", "g", fresh=True)
        with ledger.spend(run, Budgets(), lambda key, since: None) as spend:
            spend.settle(0, 1.25)
        ledger.finish_run(run, "superseded", outcome={})
    found = status_of(project)["reviews"]
    assert (found["quarantined"], found["alerts"], found["today"], found["day_budget"]) == (3, 1, 1.25, 2.0)
    out = project.loom("status").out
    assert "$1.25 of $2.00" in out
    assert "Spent: $1.25 today, $1.25 of $20.00 this month (UTC)" in out


def test_pass_rates_of_the_last_runs_are_drawn(project):
    project.pipeline("reviews")
    for rate in (0.5, 0.75, 1.0):
        project.ran("reviews", rate=rate)
    assert status_of(project)["reviews"]["pass_rates"] == [0.5, 0.75, 1.0]
    assert "▁▅█" in project.loom("status").out


def test_one_held_partition_of_many_is_named(project):
    project.pipeline("daily")
    text = (project.root / "pipelines/daily.yaml").read_text("utf-8")
    block = "key: id, partitions: {every: daily, start: 2026-01-01}"
    text = text.replace("data/in.csv", "'data/{{ partition }}.csv'").replace("out/daily.csv", "out/daily/")
    project.write("pipelines/daily.yaml", text.replace("key: id", block))
    project.ran("daily", "2026-01-01", status="held")
    project.ran("daily", "2026-01-02")
    project.ran("daily", "", status="held")  # from when it had no partitions
    found = status_of(project)["daily"]
    assert (found["state"], found["held"]) == ("held", ["2026-01-01"])
    assert "held: 2026-01-01" in project.loom("status").out


def test_triggers_say_what_comes_next(project):
    project.pipeline("nightly", "trigger: {cron: '0 6 * * *', timezone: Europe/Berlin}\n")
    project.pipeline("watching", "trigger: {on: [new_data, prompt]}\n")
    found = status_of(project)
    assert found["nightly"]["next_due"] is not None and found["watching"]["next_due"] is None
    assert found["watching"]["trigger"] == "on new_data, prompt"


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("*/15 * * * *", None, "2026-11-21T10:01", "2026-11-21T10:15"),
        ("0 6 * * mon-fri", None, "2026-11-20T06:00", "2026-11-23T06:00"),  # a Friday
        ("@monthly", None, "2026-12-31T23:59", "2027-01-01T00:00"),
        ("0 6 * * *", "Europe/Berlin", "2026-11-21T04:00", "2026-11-21T05:00"),
        ("0 0 29 2 *", None, "2026-03-01T00:00", "2028-02-29T00:00"),
        ("0 0 13 * 5", None, "2026-11-14T00:00", "2026-11-20T00:00"),  # the 13th, or a Friday
        ("0 0 * * 7", None, "2026-11-21T00:00", "2026-11-22T00:00"),
    ],
)
def test_a_schedule_knows_when_it_comes_next(cron, zone, after, expected):
    found = next_time(cron, zone, datetime.fromisoformat(after).replace(tzinfo=UTC))
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_an_empty_project_is_no_error(project):
    said = project.loom("status")
    assert (said.code, "loom init" in said.out) == (0, True)


def test_a_project_that_cannot_be_opened_is(project):
    project.write("pyproject.toml", "[tool.loom]\nmodle = 'x'\n")
    assert project.loom("status").code == 2
