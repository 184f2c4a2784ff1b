"""What makes a pipeline run by itself is checked before anything waits for it."""

from __future__ import annotations

import pytest
from dagster._utils.schedules import is_valid_cron_string

from loom_dagster.spec.cron import cron_problem

PIPELINE = """\
name: x
extract: {{source: "{source}"{extract}}}
transform: {{prompt: p}}
load: {{destination: b}}
trigger: {trigger}
"""
CURSOR = ", incremental: {cursor: at}"


def _problems(problems_of, trigger, *, source="data/*.csv", extract=""):
    return problems_of(PIPELINE.format(trigger=trigger, source=source, extract=extract))


@pytest.mark.parametrize(
    ("trigger", "source", "extract"),
    [
        ("{on: new_data}", "data/", ""),
        ("{on: [new_data, prompt], every: 5s}", "s3://bucket/data/*.json", ""),
        ("{on: prompt}", "https://x/y.csv", ""),
        ("{on: new_data}", "postgres://shop/reviews", CURSOR),
        ("{on: new_data}", "duckdb://shop/reviews", CURSOR),
        ("{on: new_data}", "pipeline://other", ""),
        ('{cron: "0 6 * * mon-fri", timezone: Europe/Berlin}', "sqlite:///a.db/t", ""),
        ('{cron: "@daily"}', "https://x/y.csv", ""),
    ],
)
def test_what_can_be_triggered(problems_of, trigger, source, extract):
    assert _problems(problems_of, trigger, source=source, extract=extract) == []


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        ("{}", "needs one of `on` (new_data, prompt) and `cron`, not both"),
        ('{on: new_data, cron: "0 6 * * *"}', "needs one of `on` (new_data, prompt) and `cron`, not both"),
        ("{on: new_date}", "(did you mean `new_data`?)"),
        ("{on: new_data, every: 1s}", "`trigger.every`: write whole seconds, 5s at the least"),
        ("{on: new_data, every: often}", "`often` is not a duration"),
        ("{on: new_data, timezone: Europe/Berlin}", "`timezone` belongs to `cron`, and there is none"),
        ('{cron: "0 6 * * *", every: 60s}', "`every` belongs to `on`"),
        ('{cron: "0 6 * * *", timezone: Europe/Berln}', "(did you mean `Europe/Berlin`?)"),
        ('{cron: "0 25 * * *"}', "`trigger.cron`: not a schedule: its hour is `25`; it may be *, 0 to 23"),
        ('{cron: "0 6 * *"}', "`0 6 * *` is not five fields"),
        ('{cron: "0 6 * * mun"}', "its day of the week is `mun`"),
        ('{cron: "0 6 30 2 *"}', "never comes: no such month has a day 30"),
    ],
)
def test_a_wrong_trigger_is_told_with_its_line(problems_of, trigger, said):
    [problem] = _problems(problems_of, trigger)
    assert problem.startswith("pipelines/x.yaml:5: ")
    assert said in problem


@pytest.mark.parametrize(
    ("source", "extract", "why"),
    [
        ("kafka://queue/topic", "", "a stream is consumed as it comes"),
        ("https://x/y.csv?token=secret", "", "a web address does not tell what is new"),
        ("postgres://shop/reviews", "", "a table without a cursor"),
        ("postgres://shop/reviews", ', key: id, query: "SELECT 1 AS id"', "a query without a cursor"),
        ("duckdb://shop/reviews", ", incremental: true", "a table without a cursor"),
    ],
)
def test_a_source_that_cannot_be_watched_is_refused(problems_of, source, extract, why):
    [problem] = _problems(problems_of, "{on: new_data}", source=source, extract=extract)
    assert f"`trigger.on: new_data`: {source.partition('?')[0]} cannot be watched: {why}" in problem
    assert "secret" not in problem


@pytest.mark.parametrize(
    "schedule",
    ["* * * * *", "*/5 0-23/2 1,15 * 1-5", "0 0 31 jan,mar *", "5/10 * * * sun", "@hourly", "0 0 29 2 *",
     "0 6 30 2 *", "60 * * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "a * * * *", "5-1x * * * *", "", "@never",
     "* * * *", "* * * * * *", "*/0 * * * *", "1, * * * *"],
)  # fmt: skip
def test_what_is_taken_for_a_schedule_dagster_takes_too(schedule):
    assert (cron_problem(schedule) is None) == bool(
        schedule and is_valid_cron_string(schedule) and len(schedule.split()) in (1, 5)
    )
