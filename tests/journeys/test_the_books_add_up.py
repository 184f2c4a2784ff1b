"""Ten thousand calls with everything that can go wrong: the ledger's books, the answers and what the provider sold agree."""

from __future__ import annotations

import csv
import io
import json
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.assembly import Loom
from loom_dagster.assembly.spending import spending
from tests.journeys.project import Project
from tests.servers.llm import LLMServer

PICO = 10**12
IN, CACHED, OUT = 150_000, 75_000, 600_000  # picodollars a token: gpt-4o-mini
RECORDS = 4900


def sold(stats: dict) -> int:
    """Picodollars."""
    into, cached, out = (stats[f"{what}_tokens"] for what in ("input", "cached", "output"))
    return (into - cached) * IN + cached * CACHED + out * OUT


def answers(project: Project) -> tuple[int, int]:
    """How many there are, and what they cost in picodollars."""
    with sqlite3.connect(project.root / ".loom" / "answers.sqlite") as connection:
        query = "select count(*), sum(cast(round(cost * 1e12) as integer)) from answers"
        count, cost = connection.execute(query).fetchone()
    return int(count), int(cost)


def books(project: Project) -> tuple[int, int, int]:
    """Spent and unconfirmed in picodollars, and the calls nobody knows the outcome of."""
    with sqlite3.connect(project.root / ".loom" / "ledger.sqlite") as connection:
        query = "select sum(spent), sum(unconfirmed), sum(lost) from spend"
        spent, unconfirmed, lost = connection.execute(query).fetchone()
    return int(spent), int(unconfirmed), int(lost)


def reviews(project: Project, number: int) -> dict[str, str]:
    """Texts by id; the judge will not agree with the answers to one in twenty."""
    texts = {f"r{i}": f"review number {i}" for i in range(number)}
    expected = ["negative" if i % 20 == 7 else "positive" for i in range(number)]
    columns = {"id": list(texts), "text": list(texts.values()), "expected_sentiment": expected}
    (project.root / "data").mkdir()
    pq.write_table(pa.table(columns), project.root / "data" / "reviews.parquet")
    return texts


def judged(project: Project, server: LLMServer, **transform: object) -> None:
    """A pipeline whose answers are repaired, asked for again and judged."""
    project.environ = {"OPENAI_API_KEY": "k"}
    project.pipeline(
        transform={
            "prompt": "prompts/classify.txt",
            "model": "openai/gpt-4o-mini",
            "api_base": server.base_url,
            "limits": {"in_flight": 64},
            "max_attempts": 4,
            **transform,
        },
        evaluate={
            "evaluators": [
                {
                    "name": "tone",
                    "type": "semantic",
                    "reference_field": "expected_sentiment",
                    "threshold": 0.5,
                },
                {
                    "name": "fits",
                    "type": "custom_criteria",
                    "criteria": "It fits the review",
                    "threshold": 0.05,
                },
            ]
        },
        load={"destination": "out/classify.parquet", "on_failure": "retry", "retries": 1},
    )


@pytest.mark.slow
@pytest.mark.service
def test_books_answers_and_what_was_sold_agree_to_the_picodollar(project: Project) -> None:
    texts = reviews(project, RECORDS)
    faults = {
        "malformed": 0.02, "wrong_schema": 0.01, "empty": 0.005, "refusal": 0.005, "length": 0.005, "filter": 0.003,
        "429": 0.02, "500": 0.01, "503": 0.01, "400": 0.002,
    }  # fmt: skip
    with LLMServer(
        process=True,
        latency=0.01,
        labels=dict.fromkeys(texts.values(), "positive"),
        find=r"Review \w+: (.*)",
        field="sentiment",
        faults=faults,
        cached=0.6,
        seed=5,
    ) as server:
        judged(project, server)
        run = project.run()
        stats = server.stats()
        told = run.outcome["spending"]
        assert stats["paid"] >= 10_000
        assert stats["cached_tokens"] > 0
        assert sold(stats) == answers(project)[1] == books(project)[0]
        assert answers(project)[0] == stats["paid"] == told["calls"]
        assert books(project)[1:] == (0, 0), "nothing was lost on the way"
        assert sum(told["cost"].values()) == pytest.approx(sold(stats) / PICO, abs=1e-9)

        whole = project.loom("cost", "--json").json
        assert round(whole["total"]["cost"] * PICO) == sold(stats)
        assert (whole["total"]["unconfirmed"], whole["total"]["calls"]) == (0.0, stats["paid"])
        rows = list(
            csv.DictReader(io.StringIO(project.loom("cost", "classify", "--by", "day,stage", "--csv").out))
        )
        assert sum(round(float(row["cost"]) * PICO) for row in rows) == sold(stats)
        for by in (["stage"], ["model"], ["prompt"], ["run"], ["month", "stage", "model", "prompt"]):
            found = spending(Loom.open(project.root, {}), by, pipeline="classify", since=None, until=None)
            assert sum(round(row.cost * PICO) for row in found.rows) == sold(stats), by
            assert sum(row.calls for row in found.rows) == stats["paid"], by


@pytest.mark.slow
@pytest.mark.service
@pytest.mark.parametrize("budget", [None, 50.0])
def test_calls_whose_outcome_nobody_knows_are_unconfirmed_and_never_zero(
    project: Project, budget: float | None
) -> None:
    texts = reviews(project, 900)
    with LLMServer(
        process=True,
        latency=0.05,
        labels=dict.fromkeys(texts.values(), "positive"),
        find=r"Review \w+: (.*)",
        field="sentiment",
        faults={"cut": 0.02, "close": 0.01, "504": 0.02},
        cached=0.6,
        seed=7,
    ) as server:
        judged(project, server)
        if budget is not None:
            path = project.root / "pipelines" / "classify.yaml"
            path.write_text(path.read_text() + f"monitoring: {{cost_budget: {budget}}}\n")
        killed_in(project, server, paid=500)
        shown = project.loom("cost", "--json").json["total"]
        spent, unconfirmed, lost = books(project)
        assert lost > 0
        assert spent == answers(project)[1], (
            "what was stored is in the books, also what was not settled before the kill"
        )
        # the provider's truth lies between what is certain and what may have been
        assert spent <= sold(server.stats()) <= spent + unconfirmed
        assert (round(shown["cost"] * PICO), round(shown["unconfirmed"] * PICO)) == (spent, unconfirmed)
        page = project.loom("cost", "classify").out
        assert f"of {lost:,} calls nobody knows whether they were paid for" in page

        assert project.run().code == 0
        stats = server.stats()
        spent, unconfirmed, lost = books(project)
        by_fault = stats["by_fault"]
        assert lost >= by_fault["cut"] + by_fault["close"] + by_fault["504"]
        assert spent == answers(project)[1]
        assert spent <= sold(stats) <= spent + unconfirmed


def killed_in(project: Project, server: LLMServer, *, paid: int) -> None:
    child = subprocess.Popen(
        project.command("run", "classify", "--direct", "--json"),
        env=project.env,
        cwd=project.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while server.stats()["paid"] < paid and child.poll() is None:
        time.sleep(0.01)
    assert child.poll() is None, "it ended before it was killed"
    child.send_signal(signal.SIGKILL)
    child.wait()


@pytest.mark.service
def test_calls_of_unknown_price_are_counted_and_named(project: Project) -> None:
    texts = reviews(project, 12)
    with LLMServer(
        labels=dict.fromkeys(texts.values(), "positive"), find=r"Review \w+: (.*)", field="sentiment"
    ) as server:
        judged(project, server, model="openai/mystery")
        assert project.run().code == 0
    total = project.loom("cost", "--json").json
    assert total["unpriced"] == {"openai/mystery": 29}, (
        "12 and one again, as many verdicts on them, and three"
    )
    assert (total["total"]["cost"], total["total"]["unpriced"]) == (0.0, 29)
    page = project.loom("cost").out
    assert (
        "29 calls of openai/mystery cost what nobody knows: declare its price under [tool.loom.prices]"
        in page
    )


def test_the_page_of_a_project_that_has_spent_nothing(project: Project) -> None:
    project.reviews({"a": "fine"})
    project.pipeline()
    assert "Nothing was spent: no model that costs anything was asked" in project.loom("cost").out
    assert json.loads(project.loom("cost", "--json").out)["rows"] == []
    assert not Path(project.root / "out").exists()
