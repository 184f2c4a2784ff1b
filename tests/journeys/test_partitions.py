"""A source that is run piece by piece: what belongs to a partition, and what running it again replaces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from loom_dagster.assembly import Loom
from loom_dagster.errors import Misconfigured
from loom_dagster.settings import RunOptions
from tests.journeys.project import Project
from tests.journeys.test_databases import execute, look
from tests.servers.databases import Server

DAILY = {"every": "daily", "start": "2024-01-01", "end": "2024-01-04", "column": "at"}
ROWS = [
    ("a", "2024-01-01T00:00:00", "first"),
    ("b", "2024-01-01T23:59:59", "last of the day"),
    ("c", "2024-01-02T00:00:00", "exactly at the end"),
    ("d", "2024-01-03T12:00:00", "later"),
]
DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]


def source(project: Project, rows: list[tuple[str, str, str]], name: str = "data/in.csv") -> None:
    project.write(name, "\n".join(["id,at,text", *(",".join(row) for row in rows)]) + "\n")


@pytest.fixture
def daily(project: Project) -> Project:
    source(project, ROWS)
    project.pipeline(
        extract={"source": "data/in.csv", "key": "id", "partitions": DAILY},
        load={"destination": "out/", "columns": ["id", "text", "sentiment"]},
    )
    return project


def run(project: Project, *days: str, **options: Any) -> dict[str, Any]:
    """Runs and loads; by day the ids that were extracted."""
    loom = Loom.open(project.root, {})
    found = {}
    for day in days:
        outcome = loom.run("classify", RunOptions(**options), partition=day)
        assert outcome.partition == day
        if outcome.released:
            loom.load("classify", RunOptions(**options), partition=day)
        found[day] = outcome.counts.extracted
    loom.ledger.close()
    return found


def loaded(project: Project, folder: str = "out") -> dict[str, list[str]]:
    """The ids in each file of the destination."""
    files = sorted((project.root / folder).glob("*.parquet"))
    return {f.stem.removeprefix("loom-"): ds.dataset(f).to_table().column("id").to_pylist() for f in files}


def test_a_row_exactly_at_the_end_belongs_to_the_next(daily: Project):
    assert run(daily, *DAYS) == {DAYS[0]: 2, DAYS[1]: 1, DAYS[2]: 1}
    assert loaded(daily) == {DAYS[0]: ["a", "b"], DAYS[1]: ["c"], DAYS[2]: ["d"]}


def test_the_days_of_a_zone_follow_its_clocks(daily: Project):
    zoned = [("a", "2024-01-01T00:30:00+01:00", "x"), ("b", "2023-12-31T23:30:00Z", "x"), ("c", "2024-01-01 23:30:00", "x"),
             ("d", "2024-01-01T23:30:00Z", "x")]  # fmt: skip
    source(daily, zoned, "data/in.csv")
    rows = [f'{{"id": "{i}", "at": "{at}", "text": "{text}"}}' for i, at, text in zoned]
    daily.write("data/in.jsonl", "\n".join(rows) + "\n")
    daily.pipeline(
        extract={
            "source": "data/in.jsonl",
            "key": "id",
            "partitions": {**DAILY, "timezone": "Europe/Berlin"},
        },
        load={"destination": "out/"},
    )
    assert run(daily, *DAYS[:2]) == {DAYS[0]: 3, DAYS[1]: 1}


def test_running_a_partition_again_replaces_it_alone(daily: Project):
    run(daily, *DAYS)
    source(daily, [("a", "2024-01-01T08:00:00", "changed"), ("e", "2024-01-01T09:00:00", "new"), *ROWS[2:]])
    run(daily, DAYS[0])
    assert loaded(daily) == {DAYS[0]: ["a", "e"], DAYS[1]: ["c"], DAYS[2]: ["d"]}
    loom = Loom.open(daily.root, {})
    assert len(loom.releases.snapshots("classify", DAYS[0])) == 2
    assert set(loom.verdicts("classify")) == set(DAYS)


def test_each_partition_has_a_quarantine_and_a_verdict_of_its_own(daily: Project):
    source(daily, [*ROWS, ("", "2024-01-02T05:00:00", "no key")])
    daily.pipeline(
        extract={"source": "data/in.csv", "key": "id", "partitions": DAILY},
        evaluate={
            "evaluators": [{"type": "regex", "field": "sentiment", "pattern": "^never$"}],
            "batch_threshold": 0.9,
        },
        load={"destination": "out/", "columns": ["id", "text", "sentiment"]},
    )
    run(daily, *DAYS)
    assert loaded(daily) == {}
    loom = Loom.open(daily.root, {})
    assert {e.partition for e in loom.quarantine("classify")} == set(DAYS)
    assert len(loom.quarantine("classify", partition=DAYS[0])) == 2
    loom.ledger.close()
    done = daily.loom("release", "classify", "--partition", DAYS[0], "--why", "looked at it")
    assert done.code == 0, done.err
    loom = Loom.open(daily.root, {})
    assert loom.released("classify", DAYS[0]) and not loom.released("classify", DAYS[1])
    with pytest.raises(Misconfigured, match="not in quarantine in the newest snapshot"):
        loom.retry("classify", ["c"], partition=DAYS[0])
    assert loom.retry("classify", ["c"], partition=DAYS[1]).partition == DAYS[1]


def test_a_trial_of_a_partition_leaves_it_alone(daily: Project):
    assert run(daily, *DAYS[:2], limit=1) == {DAYS[0]: 1, DAYS[1]: 1}
    loom = Loom.open(daily.root, {})
    assert loom.verdicts("classify") == {}
    assert loaded(daily) == {}


def test_a_place_of_its_own_and_a_list(project: Project):
    for key in ("DE", "FR"):
        source(
            project, [(f"{key}1", "2024-01-01", "x"), (f"{key}2", "2024-01-01", "y")], f"data/{key}/in.csv"
        )
    project.pipeline(
        extract={"source": "data/{{ partition }}/*.csv", "key": "id", "partitions": ["DE", "FR", "US"]},
        load={"destination": "out/", "columns": ["id", "sentiment"]},
    )
    assert run(project, "DE", "FR") == {"DE": 2, "FR": 2}
    assert loaded(project) == {"DE": ["DE1", "DE2"], "FR": ["FR1", "FR2"]}
    with pytest.raises(Misconfigured, match="cannot run"):
        run(project, "US")
    assert project.loom("validate").code == 0


def test_a_column_of_a_list(project: Project):
    source(project, [("a", "DE", "x"), ("b", "FR", "y"), ("c", "DE", "z")])
    project.pipeline(
        extract={
            "source": "data/in.csv",
            "key": "id",
            "partitions": {"values": ["DE", "FR"], "column": "at"},
        },
        load={"destination": "out/"},
    )
    assert run(project, "DE", "FR") == {"DE": 2, "FR": 1}


def test_what_reads_a_partitioned_pipeline_reads_its_partition_or_all(daily: Project):
    daily.pipeline("same", extract={"source": "pipeline://classify", "key": "id", "partitions": {**DAILY, "column": None}},
                   load={"destination": "same/", "schema": {"again": "string"}})  # fmt: skip
    daily.pipeline("whole", extract={"source": "pipeline://classify", "key": "id"},
                   load={"destination": "out.jsonl", "schema": {"again": "string"}})  # fmt: skip
    run(daily, DAYS[0], DAYS[2])
    loom = Loom.open(daily.root, {})
    assert loom.run("same", partition=DAYS[0]).counts.extracted == 2
    with pytest.raises(Misconfigured, match="cannot run"):
        loom.run("same", partition=DAYS[1])
    assert loom.run("whole").counts.extracted == 3
    source(daily, [("a", "2024-01-03T00:00:00", "moved"), *ROWS[1:]])
    run(daily, DAYS[2])
    table = loom.releases.read_together("classify", DAYS, keyed=True)
    assert sorted(ds.dataset(table).to_table().column("id").to_pylist()) == ["a", "b", "d"]
    unkeyed = loom.releases.read_together("classify", DAYS, keyed=False)
    assert ds.dataset(unkeyed).count_rows() == 4


def test_a_table_that_is_loaded_by_partitions_can_be_read_by_another(daily: Project):
    daily.pipeline(extract={"source": "data/in.csv", "key": "id", "partitions": DAILY},
                   load={"destination": "sqlite:///out.db/scores", "columns": ["id", "text", "sentiment"]})  # fmt: skip
    daily.pipeline("next", extract={"source": "sqlite:///out.db/scores", "key": "id"},
                   load={"destination": "next.jsonl", "schema": {"again": "string"}})  # fmt: skip
    run(daily, DAYS[0])
    outcome = Loom.open(daily.root, {}).run("next")
    assert outcome.counts.extracted == 2
    assert not [name for name, _ in outcome.columns if name == "_loom_partition"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "none is named.*--partition 2024-01-03"),
        (("--partition", "2024-01-9"), "did you mean|they are daily"),
        (("--partition", "2024-01-04"), "no partition `2024-01-04`"),
        (("--partitions", "2024-01-03..2024-01-01"), "goes backwards"),
        (("--partitions", "2024-01-01"), "takes FROM..TO"),
        (("--partitions", "2023-01-01.."), "has no partition `2023-01-01`"),
    ],
)
def test_a_partition_that_is_none_is_refused_before_anything_runs(
    daily: Project, args: tuple[str, ...], said: str
):
    import re

    done = daily.run("classify", *args)
    assert done.code == 2
    assert re.search(said, done.out + done.err)
    assert not (daily.root / ".loom" / "datasets").exists()


def test_a_start_in_the_future_is_named(daily: Project):
    daily.pipeline(extract={"source": "data/in.csv", "key": "id", "partitions": {**DAILY, "start": "2999-01-01", "end": "2999-02-01"}},
                   load={"destination": "out/"})  # fmt: skip
    shown = daily.loom("validate")
    assert shown.code == 0
    assert "there is no complete partition yet: the first one, 2999-01-01, is not over" in " ".join(
        shown.out.split()
    )
    assert (
        "no complete partition yet"
        in daily.loom("run", "classify", "--direct", "--partition", "2999-01-01").err
    )


def test_ranges_on_the_command_line_and_in_dagster(daily: Project):
    direct = daily.run("classify", "--partitions", "2024-01-01..2024-01-02")
    assert [(one["partition"], one["counts"]["extracted"]) for one in direct.json["runs"]] == [
        (DAYS[0], 2),
        (DAYS[1], 1),
    ]
    through = daily.loom("run", "classify", "--json", "--partitions", "2024-01-02..")
    assert through.code == 0, through.err
    assert [(one["partition"], one["load"]["rows"]) for one in through.json["runs"]] == [
        (DAYS[1], 1),
        (DAYS[2], 1),
    ]
    assert set(loaded(daily)) == set(DAYS)


@pytest.mark.service
@pytest.mark.slow
def test_a_partition_of_a_database_is_replaced_in_another(postgres: Server, project: Project):
    urls = {"customers": postgres.database(), "analytics": postgres.database()}
    project.environ = {f"LOOM_CONNECTION_{name.upper()}": url for name, url in urls.items()}
    execute(urls["customers"], "CREATE TABLE reviews (id text PRIMARY KEY, at timestamp, text text)")
    put = "INSERT INTO reviews VALUES (:id, CAST(:at AS timestamp), :text)"
    execute(urls["customers"], put, rows=[{"id": i, "at": at, "text": text} for i, at, text in ROWS])
    project.pipeline(
        extract={"source": "postgres://customers/reviews", "key": "id", "partitions": DAILY},
        load={"destination": "postgres://analytics/scores"},
    )
    done = project.run("classify", "--partitions", "..")
    assert done.code == 0, done.err
    rows = "SELECT id, _loom_partition AS day FROM scores ORDER BY id"
    assert [(r["id"], r["day"]) for r in look(urls["analytics"], rows)] == [
        ("a", DAYS[0]),
        ("b", DAYS[0]),
        ("c", DAYS[1]),
        ("d", DAYS[2]),
    ]
    execute(
        urls["customers"],
        "DELETE FROM reviews WHERE id = 'a'",
        "UPDATE reviews SET at = '2024-01-03' WHERE id = 'b'",
    )
    assert project.run("classify", "--partition", DAYS[2]).code == 0
    assert project.run("classify", "--partition", DAYS[0]).outcome["counts"]["extracted"] == 0
    assert [(r["id"], r["day"]) for r in look(urls["analytics"], rows)] == [
        ("a", DAYS[0]),
        ("b", DAYS[2]),
        ("c", DAYS[1]),
        ("d", DAYS[2]),
    ]


def test_naive_times_in_a_database_are_those_of_the_zone(project: Project, tmp_path: Path):
    import sqlite3

    with sqlite3.connect(project.root / "in.db") as database:
        database.execute("CREATE TABLE reviews (id TEXT PRIMARY KEY, at TIMESTAMP, text TEXT)")
        database.executemany(
            "INSERT INTO reviews VALUES (?, ?, ?)", [(i, at.replace("T", " "), t) for i, at, t in ROWS]
        )
    project.pipeline(
        extract={
            "source": "sqlite:///in.db/reviews",
            "key": "id",
            "partitions": {**DAILY, "timezone": "America/New_York"},
        },
        load={"destination": "out/"},
    )
    assert run(project, *DAYS) == {DAYS[0]: 2, DAYS[1]: 1, DAYS[2]: 1}
