"""`extract.partitions`: what is taken, and what is refused with its line."""

from __future__ import annotations

import pytest

PIPELINE = """name: p
extract:
  source: {source}
  key: id
  partitions: {partitions}
  {more}
transform: {{prompt: prompts/p.txt}}
load: {{destination: {destination}}}
"""
DAILY = "{every: daily, start: 2026-01-01, column: at}"


def found(problems_of, partitions=DAILY, *, source="data/in.csv", more="", destination="out/"):
    return problems_of(
        PIPELINE.format(partitions=partitions, source=source, more=more, destination=destination)
    )


@pytest.mark.parametrize(
    ("partitions", "source", "more"),
    [
        (DAILY, "data/in.csv", ""),
        (
            "{every: hourly, start: 2026-01-01T05:00, end: 2026-02-01, timezone: Europe/Berlin, column: at}",
            "x.csv",
            "",
        ),
        ("{values: [DE, FR], column: country}", "x.csv", ""),
        ("[DE, FR]", '"data/{{ partition }}.csv"', ""),
        ("[DE, FR]", "sqlite:///a.db/t", 'query: "SELECT * FROM t WHERE c = {{ partition }}"'),
        (
            "{every: monthly, start: 2026-01-01}",
            "sqlite:///a.db/t",
            'query: "SELECT * FROM t WHERE at >= {{ execution_date }} AND at < {{ partition_end }}"',
        ),
    ],
)
def test_what_tells_the_rows_of_a_partition_from_others_is_taken(problems_of, partitions, source, more):
    assert found(problems_of, partitions, source=source, more=more) == []


@pytest.mark.parametrize(
    ("partitions", "said"),
    [
        ("daily", "write `partitions: {every: daily, start: 2026-01-01}`"),
        ("{every: hourly, column: at}", "write `partitions: {every: hourly, start: 2026-01-01}`"),
        ("{every: dayly, start: 2026-01-01}", "did you mean `daily`?"),
        ("{every: daily, start: 2026-13-01, column: at}", "is not a date"),
        ("{every: daily, start: 2026-01-01T05:00, column: at}", "is a date, without a time"),
        ("{every: hourly, start: 2026-01-01T05:30, column: at}", "is not at the full hour"),
        ("{every: daily, start: 2026-01-01T00:00+02:00, column: at}", "name the `timezone`"),
        ("{every: monthly, start: 2026-01-05, column: at}", "is not the first of a month"),
        ("{every: daily, start: 2026-01-01, end: 2026-01-01, column: at}", "is not after"),
        ("{every: daily, start: 2026-01-01, timezone: Berlin, column: at}", "is not known"),
        ("{every: daily, start: 2026-01-01, timezone: ../etc, column: at}", "is not known"),
        ("{every: daily, start: 2026-01-01, values: [a], column: at}", "one of the two"),
        ("{values: [a], start: 2026-01-01, column: c}", "belong to `every`"),
        ("[DE, de]", "`de` is listed twice"),
        ("['../../etc']", "cannot be the name of a partition"),
        ("['a/b']", "cannot be the name of a partition"),
        ("['~trial']", "cannot be the name of a partition"),
        ("[]", "one of the two"),
        (
            "{every: daily, start: 2026-01-01}",
            "nothing tells the rows of one partition from those of another",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_line(problems_of, partitions, said):
    [problem] = found(problems_of, partitions)
    assert said in problem
    assert problem.startswith("pipelines/x.yaml:5: ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"more": "incremental: {cursor: at}"}, "exclude each other"),
        ({"source": "redis://r/s"}, "a stream is consumed as it comes"),
        ({"destination": "out/x.csv"}, "one file cannot be loaded partition by partition"),
        (
            {
                "partitions": "{every: daily, start: 2026-01-01}",
                "source": "sqlite:///a.db/t",
                "more": 'query: "SELECT * FROM t WHERE at > {{ execution_date }}"',
            },
            "and not where it ends",
        ),
        (
            {"partitions": "", "source": '"data/{{ partition }}.csv"'},
            "speaks of partitions, and there are none",
        ),
        (
            {
                "partitions": "",
                "source": "sqlite:///a.db/t",
                "more": 'query: "SELECT * FROM t WHERE at < {{ partition_end }}"',
            },
            "speaks of partitions, and there are none",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(problems_of, change, said):
    [problem] = found(problems_of, **change)
    assert said in problem
