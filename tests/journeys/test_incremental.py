"""Only what is new is read; what is late, deferred, held or failed is not forgotten."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.assembly import Loom
from loom_dagster.errors import Misconfigured
from loom_dagster.settings import RunOptions
from tests.journeys.project import Project
from tests.servers.llm import LLMServer

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Reviews:
    """A source that grows: a row is a key, the minute at which it was changed, and a text."""

    def __init__(self, project: Project) -> None:
        self.project, self.rows = project, dict[str, dict[str, Any]]()

    def put(self, **minutes: int) -> None:
        for key, minute in minutes.items():
            at = (BEGIN + timedelta(minutes=minute)).isoformat()
            self.rows[key] = {"id": key, "at": at, "text": f"text {key} at {minute}"}
        self.write()

    def write(self) -> None:
        lines = (json.dumps(row) + "\n" for row in self.rows.values())
        self.project.write("data/reviews.jsonl", "".join(lines))


@pytest.fixture
def reviews(project: Project) -> Reviews:
    project.pipeline(
        extract={"source": "data/reviews.jsonl", "incremental": {"cursor": "at", "lag": "10m"}},
        load={"destination": "out/classify.jsonl", "columns": ["id", "text", "sentiment"]},
    )
    return Reviews(project)


def run(project: Project, **options: Any) -> dict[str, Any]:
    """One run and its load; gives the counts."""
    loom = Loom.open(project.root, {})
    chosen = RunOptions(**options)
    outcome = loom.run("classify", chosen)
    if outcome.released:
        loom.load("classify", chosen)
    loom.ledger.close()
    return {
        "extracted": outcome.counts.extracted,
        "released": outcome.released,
        "notes": " ".join(outcome.notes),
    }


def loaded(project: Project) -> dict[str, str]:
    lines = (project.root / "out/classify.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row["text"] for row in rows}


def released(project: Project) -> dict[str, str]:
    """What others read: all increments as one table."""
    loom = Loom.open(project.root, {})
    table = pq.read_table(loom.releases.read_transformed("classify"))
    loom.ledger.close()
    assert len(set(table.column("id").to_pylist())) == table.num_rows
    return dict(zip(table.column("id").to_pylist(), table.column("text").to_pylist(), strict=True))


def test_the_next_run_reads_what_is_new_changed_or_late_and_nothing_else(
    project: Project, reviews: Reviews
) -> None:
    reviews.put(a=0, b=60, c=120)
    assert run(project)["extracted"] == 3
    reviews.put(d=180, a=170, late=115, lost=100)  # `late` within the lag of 10 minutes, `lost` beyond it
    assert run(project)["extracted"] == 4  # c, d, a, late
    texts = loaded(project)
    assert sorted(texts) == ["a", "b", "c", "d", "late"]
    assert texts["a"] == "text a at 170"
    assert released(project) == texts
    reviews.put()
    assert run(project)["extracted"] == 2  # a and d are within the lag
    assert loaded(project) == texts and released(project) == texts


def test_nothing_new_is_a_success_and_changes_nothing(project: Project, reviews: Reviews) -> None:
    project.pipeline(
        extract={"source": "data/reviews.jsonl", "incremental": {"cursor": "at"}},
        load={"destination": "out/classify.jsonl", "columns": ["id", "text", "sentiment"]},
    )
    reviews.put(a=0, b=60)
    run(project)
    before = loaded(project)
    reviews.rows.pop("b")
    reviews.write()
    done = project.run()
    assert done.code == 0, done.err
    assert done.outcome["counts"]["extracted"] == 0
    assert loaded(project) == before and released(project) == before


def test_the_watermark_moves_with_the_load_only(project: Project, reviews: Reviews) -> None:
    reviews.put(a=0, b=60)
    loom = Loom.open(project.root, {})
    assert loom.run("classify").released
    assert loom.watermark("classify") is None
    reviews.put(c=120)
    assert loom.run("classify").counts.extracted == 3  # nothing is loaded yet: everything is read again
    loom.load("classify")
    assert loom.watermark("classify").watermark.cursor == "2026-01-01T02:00:00+00:00"
    loom.run("classify", RunOptions(offline=True))  # a trial moves nothing
    assert loom.watermark("classify").watermark.cursor == "2026-01-01T02:00:00+00:00"
    loom.ledger.close()


def test_a_held_batch_joins_the_next_extract(project: Project, reviews: Reviews) -> None:
    reviews.put(a=0)
    run(project)
    project.pipeline(
        extract={"source": "data/reviews.jsonl", "incremental": {"cursor": "at"}},
        evaluate={
            "evaluators": [{"type": "regex", "field": "sentiment", "pattern": "^no such$"}],
            "batch_threshold": 0.9,
        },
        load={"destination": "out/classify.jsonl", "columns": ["id", "text", "sentiment"]},
    )
    reviews.put(b=60, c=120)
    assert not run(project)["released"]
    project.pipeline(
        extract={"source": "data/reviews.jsonl", "incremental": {"cursor": "at"}},
        load={"destination": "out/classify.jsonl", "columns": ["id", "text", "sentiment"]},
    )
    reviews.put(d=180)
    assert run(project)["extracted"] == 4
    assert sorted(loaded(project)) == ["a", "b", "c", "d"] == sorted(released(project))


def test_a_full_refresh_reads_everything_and_names_what_is_gone(project: Project, reviews: Reviews) -> None:
    reviews.put(a=0, b=60, c=120)
    run(project)
    del reviews.rows["b"]
    reviews.put(d=180)
    assert "not in the source" not in run(project)["notes"]
    done = run(project, full_refresh=True)
    assert done["extracted"] == 3
    assert "1 record of the last release is not in the source any more (b)" in done["notes"]
    assert sorted(released(project)) == ["a", "c", "d"]
    assert sorted(loaded(project)) == ["a", "b", "c", "d"]  # a load deletes nothing
    assert run(project)["extracted"] == 1


def test_state_is_shown_set_and_reset(project: Project, reviews: Reviews) -> None:
    reviews.put(a=0, b=60, c=120)
    assert "reads everything" in project.loom("state", "show", "classify").out
    project.run()
    shown = project.loom("state", "show", "classify", "--json").json
    assert shown["watermark"]["cursor"] == {"type": "str", "value": "2026-01-01T02:00:00+00:00"}
    assert project.loom("state", "set", "classify", "2026-01-01T01:05:00+00:00").code == 0
    assert project.run().outcome["counts"]["extracted"] == 2
    assert project.loom("state", "reset", "classify").code == 0
    assert project.run().outcome["counts"]["extracted"] == 3
    project.pipeline(extract={"source": "data/reviews.jsonl"})
    refused = project.loom("state", "show", "classify")
    assert refused.code == 2 and "is not incremental" in refused.err


def test_an_append_adds_each_record_once(project: Project, reviews: Reviews) -> None:
    project.pipeline(
        extract={"source": "data/reviews.jsonl", "incremental": {"cursor": "at", "lag": "10m"}},
        load={"destination": "out/classify.jsonl", "mode": "append", "columns": ["id", "text", "sentiment"]},
    )
    reviews.put(a=0, b=60)
    run(project)
    reviews.put(c=65)
    run(project)
    run(project, full_refresh=True)
    assert sorted(loaded(project)) == ["a", "b", "c"]


def test_new_files_only(project: Project) -> None:
    project.pipeline(
        extract={"source": "data/*.jsonl", "incremental": True},
        load={"destination": "out/classify.jsonl", "columns": ["id", "text", "sentiment"]},
    )

    def file(name: str, *keys: str, text: str = "x") -> None:
        project.write(
            f"data/{name}.jsonl", "".join(json.dumps({"id": k, "text": f"{k} {text}"}) + "\n" for k in keys)
        )

    file("1", "a", "b")
    assert run(project)["extracted"] == 2
    file("2", "c")
    assert run(project)["extracted"] == 1
    assert run(project)["extracted"] == 0
    file("1", "a", "b", text="changed")
    os.utime(project.root / "data/1.jsonl", ns=(1, 1))
    assert run(project)["extracted"] == 2
    assert loaded(project) == released(project) == {"a": "a changed", "b": "b changed", "c": "c x"}


def test_quarantined_records_of_any_increment_can_be_tried_again(project: Project, reviews: Reviews) -> None:
    with LLMServer(text='{"sentiment": "odd"}') as server:
        project.environ = {"OPENAI_API_KEY": "k"}
        project.pipeline(
            extract={"source": "data/reviews.jsonl", "incremental": {"cursor": "at"}},
            transform={"prompt": "prompts/classify.txt", "model": "openai/any", "api_base": server.base_url},
            evaluate={"on_batch_failure": "load_passed"},
            load={"destination": "out/classify.jsonl", "columns": ["id", "text", "sentiment"]},
        )
        odd = {"text": '{"sentiment": "odd"}'}
        good = {"text": '{"sentiment": "positive"}'}
        server.change(**good)
        reviews.put(a=0)
        project.run()
        for key, minute in (("b", 60), ("c", 120)):
            server.change(**odd)
            reviews.put(**{key: minute})
            server.change(**good) if key == "c" else None
            reviews.put(**{f"{key}2": minute + 1})
            done = project.run()
        entries = project.loom("quarantine", "list", "classify", "--json").json["records"]
        assert {e["record_id"] for e in entries} <= {"b", "b2"}
        server.change(**good)
        retried = project.loom("quarantine", "retry", "classify", "--all")
        assert retried.code == 0, retried.err
    assert done.code == 0
    assert sorted(loaded(project)) == ["a", "b", "b2", "c", "c2"] == sorted(released(project))
    assert project.loom("quarantine", "list", "classify", "--json").json["records"] == []


@pytest.mark.parametrize(
    ("extract", "load", "said"),
    [
        ({"incremental": {"cursor": "att"}}, {}, "did you mean `at`?"),
        ({"incremental": {"cursor": "at"}}, {"mode": "overwrite"}, "would leave the newest rows only"),
        ({"incremental": {"cursor": "at"}, "limit": 5}, {}, "`limit` with `incremental`"),
        ({"incremental": {"lag": "5m"}}, {}, "`lag` belongs to a `cursor`"),
    ],
)
def test_what_cannot_be_incremental_is_said_before_anything_runs(
    project: Project, reviews: Reviews, extract: dict[str, Any], load: dict[str, Any], said: str
) -> None:
    reviews.put(a=0)
    project.pipeline(extract={"source": "data/reviews.jsonl", **extract}, load=load)
    done = project.loom("validate", "classify")
    assert done.code == 2
    assert said in done.out + done.err


def test_two_runs_at_once_are_one_run_and_a_refusal(project: Project, reviews: Reviews) -> None:
    reviews.put(a=0)
    loom = Loom.open(project.root, {})
    holding = loom.ledger.begin_run("classify", "", "f")
    with pytest.raises(Misconfigured, match="another run of classify is going on"):
        Loom.open(project.root, {}).run("classify")
    with pytest.raises(Misconfigured, match="another run of classify is going on"):
        Loom.open(project.root, {}).ledger.watermarks.reset("classify", who="ada")
    loom.ledger.leave_run(holding)
    loom.ledger.close()


def test_a_union_is_made_once_and_built_upon(project: Project, reviews: Reviews) -> None:
    reviews.put(a=0, b=60)
    run(project)
    made: list[Path] = []
    for n in range(3):
        reviews.put(**{f"n{n}": 100 + 60 * n, "a": 100 + 60 * n})
        run(project)
        loom = Loom.open(project.root, {})
        made.append(loom.releases.read_transformed("classify"))
        stamp = made[-1].stat().st_mtime_ns
        assert loom.releases.read_transformed("classify").stat().st_mtime_ns == stamp
        loom.ledger.close()
    made[0].write_bytes(b"not read again: the union after it is")
    assert released(project)["a"] == "text a at 220"
    assert sorted(released(project)) == ["a", "b", "n0", "n1", "n2"]


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_times_with_and_without_a_zone(project: Project, zone: str | None) -> None:
    kind = pa.timestamp("ns", tz=zone)

    def write(*minutes: int) -> None:
        at = pa.array(
            [(BEGIN + timedelta(minutes=m)).replace(tzinfo=UTC if zone else None) for m in minutes], kind
        )
        ids = [f"r{m}" for m in minutes]
        table = pa.table({"id": ids, "at": at, "text": ids})
        (project.root / "data").mkdir(exist_ok=True)
        pq.write_table(table, project.root / "data/reviews.parquet")

    project.pipeline(
        extract={"source": "data/reviews.parquet", "incremental": {"cursor": "at", "lag": "10m"}},
        load={"destination": "out/classify.jsonl", "columns": ["id", "text", "sentiment"]},
    )
    write(0, 60, 120)
    assert run(project)["extracted"] == 3
    write(0, 60, 120, 109, 111, 180)
    assert run(project)["extracted"] == 3
    assert sorted(loaded(project)) == ["r0", "r111", "r120", "r180", "r60"]
    assert project.loom("state", "set", "classify", "2026-01-01T01:00:00Z").code == 0
    assert run(project)["extracted"] == 5  # from 00:50 on


def test_loads_of_one_pipeline_wait_for_each_other(project: Project, reviews: Reviews) -> None:
    project.pipeline(
        extract={"source": "data/reviews.jsonl"},
        load={"destination": "out/classify.jsonl", "mode": "append", "columns": ["id", "text", "sentiment"]},
    )
    reviews.put(**{f"r{n}": n for n in range(300)})
    loom = Loom.open(project.root, {})
    loom.run("classify")
    loom.ledger.close()
    started = [
        subprocess.Popen(project.command("load", "classify"), env=project.env, cwd=project.root)
        for _ in range(3)
    ]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    assert len(loaded(project)) == 300
