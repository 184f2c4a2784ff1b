"""A dry run reads what the next run would: its partition, what is new, what an open run has not asked yet."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.assembly import Loom
from loom_dagster.assembly.estimating import forecast
from loom_dagster.costs import Forecast
from loom_dagster.settings import RunOptions
from tests.journeys.project import Project
from tests.servers.llm import LLMServer

EXTRACT = {"source": "data/reviews.parquet", "key": "id"}


def days(project: Project, rows: dict[str, int]) -> None:
    """A source with so many reviews a day."""
    days = [day for day, n in rows.items() for _ in range(n)]
    ids = [f"r{i}" for i in range(len(days))]
    table = pa.table({"id": ids, "text": [f"review {i}" for i in ids], "day": days})
    (project.root / "data").mkdir(exist_ok=True)
    pq.write_table(table, project.root / "data" / "reviews.parquet")


def dry_run(project: Project, *keys: str, **options: object) -> Forecast:
    loom = Loom.open(project.root, {})
    return forecast(
        loom, "classify", options=RunOptions(**options), partitions=keys or ("",), models=[], most=10_000
    )


def test_one_partition_or_several(project: Project) -> None:
    days(project, {"a": 3, "b": 5, "c": 7})
    project.pipeline(
        extract={**EXTRACT, "partitions": {"values": ["a", "b", "c"], "column": "day"}},
        load={"destination": "out/classify/", "format": "parquet"},
    )
    assert dry_run(project, "b").records == 5
    assert dry_run(project, "a", "c").records == 10
    shown = project.loom("cost", "classify", "--dry-run", "--partitions", "b..c", "--json")
    assert (shown.json["records"], shown.json["partitions"]) == (12, ["b", "c"])
    refused = project.loom("cost", "classify", "--dry-run")
    assert refused.code == 2
    assert "`classify` is run partition by partition, and none is named" in refused.err


def test_what_is_new_since_the_last_load(project: Project) -> None:
    days(project, {"2026-01-01": 4, "2026-01-02": 2})
    project.pipeline(extract={**EXTRACT, "incremental": {"cursor": "day"}})
    assert dry_run(project).records == 6
    assert project.run().code == 0
    days(project, {"2026-01-01": 4, "2026-01-02": 2, "2026-01-03": 3})
    assert dry_run(project).records == 5, "the last day may not have been over"
    assert dry_run(project, full_refresh=True).records == 9
    watermark = json.loads(project.loom("state", "show", "classify", "--json").out)
    assert dry_run(project).records == 5
    assert json.loads(project.loom("state", "show", "classify", "--json").out) == watermark
    assert project.run().outcome["counts"]["extracted"] == 5


@pytest.mark.service
@pytest.mark.parametrize("cache", [True, False])
def test_of_a_killed_run_what_is_not_answered_yet(project: Project, cache: bool) -> None:
    texts = {f"r{i}": f"review number {i}" for i in range(300)}
    project.reviews(texts)
    project.environ = {"OPENAI_API_KEY": "k"}
    with LLMServer(
        process=True, latency=0.05, labels=dict.fromkeys(texts.values(), "positive"),
        find=r"Review \w+: (.*)", field="sentiment",
    ) as server:  # fmt: skip
        project.pipeline(
            transform={
                "prompt": "prompts/classify.txt",
                "model": "openai/gpt-4o-mini",
                "api_base": server.base_url,
                "limits": {"in_flight": 8},
                "cache": {"enabled": cache},
            }
        )
        child = subprocess.Popen(
            project.command("run", "classify", "--direct"), env=project.env, cwd=project.root,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while server.stats()["paid"] < 100 and child.poll() is None:
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        (line,) = dry_run(project).estimate.lines
        assert 92 <= line.free <= server.stats()["paid"]
        run = project.run()
        assert run.outcome["spending"]["calls"] == line.calls
        (line,) = dry_run(project).estimate.lines
        assert line.calls == (0 if cache else 300), "a new run asks again where nothing is kept for it"
