"""A dry run says what the run will cost: real texts, a server that counts tokens as OpenAI does and answers at length."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.journeys.project import Project
from tests.servers.llm import LLMServer

DATA = Path(os.environ.get("LOOM_DATA_DIR", Path(__file__).parents[3] / "shared" / "data"))
PROMPT = """---
version: v1
---
You sort short texts that people wrote. Read the text, decide which label fits it best, and say in a sentence why.
Never use a label that is not in the list; where two fit, take the more specific one.

Labels: {labels}

Text: {{{{ input.text }}}}
"""

SERVER = {
    "process": True,
    "latency": 0.005,
    "find": r"(?s)Text: (.*?)\s*$",
    "field": "label_given",
    "mistakes": 0.05,
    "faults": {"malformed": 0.01, "429": 0.01, "500": 0.005},
    "encoding": "o200k_base",
    "cached": 0.4,
    "wordy": (12, 40),
    "seed": 11,
}


@pytest.mark.slow
@pytest.mark.service
@pytest.mark.parametrize("judge", [False, True], ids=["no_judge", "judge"])
@pytest.mark.parametrize(("name", "most"), [("sentiment2", None), ("topic4", None), ("banking77", 3000)])
def test_the_settled_cost_is_within_five_percent(
    project: Project, name: str, most: int | None, judge: bool
) -> None:
    if not (DATA / f"{name}.parquet").exists():
        pytest.skip(f"LOOM_DATA_DIR has no {name}.parquet")
    rows = pq.read_table(DATA / f"{name}.parquet").to_pylist()
    with LLMServer(**SERVER, labels={row["text"].strip(): row["label"] for row in rows}) as server:
        labelling(project, name, most, sorted({row["label"] for row in rows}), server, judge=judge)
        first = project.loom("cost", "label", "--dry-run", "--json")
        assert first.code == 0, first.out
        before = first.json
        assert server.stats()["requests"] == 0, "nobody was asked"
        assert not (project.root / ".loom" / "ledger.sqlite").exists(), "and nothing was written"

        assert project.run("label", "--limit", "100").code == 0
        early = spent(project)
        with_history = project.loom("cost", "label", "--dry-run", "--json").json
        sampled = project.loom("cost", "label", "--dry-run", "--json", "--sample", "400").json
        run = project.run("label")
        settled = spent(project) - early
    told = {}
    for what, forecast, truth in (
        ("no history", before, settled + early),
        ("100 answers", with_history, settled),
        ("sampled", sampled, settled),
    ):
        found = forecast["estimate"]
        told[what] = (found["cost"], truth, found["cost"] / truth - 1, (found["low"], found["high"]))
    print(name, judge, {k: (f"{c:.5f}", f"{t:.5f}", f"{e:+.2%}", i) for k, (c, t, e, i) in told.items()})  # noqa: T201
    assert sum(run.outcome["spending"]["cost"].values()) == pytest.approx(settled)
    for what in ("100 answers", "sampled"):
        _, truth, error, (low, high) = told[what]
        assert abs(error) < 0.05, (what, told)
        assert low <= truth <= high, (what, told)
        assert high / low < 1.35, "an interval that says something"
    _, truth, _, (low, high) = told["no history"]
    assert low <= truth <= high, told
    (asked, *_) = with_history["estimate"]["lines"]
    assert 100 <= asked["free"] < 105, "what the trial asked, and its repairs"
    assert asked["calls"] == with_history["records"] - 100


def labelling(
    project: Project, name: str, most: int | None, names: list[str], server: LLMServer, *, judge: bool
) -> None:
    """A pipeline that labels the texts of ``name``."""
    project.environ = {"OPENAI_API_KEY": "k"}
    project.write("prompts/label_text.txt", PROMPT.format(labels=", ".join(names)))
    judges = [
        {
            "name": "sound",
            "type": "custom_criteria",
            "criteria": "The label fits, the reason too",
            "threshold": 0.05,
        }
    ]
    project.pipeline(
        "label",
        extract={"source": str(DATA / f"{name}.parquet"), "key": "id", **({"limit": most} if most else {})},
        transform={
            "prompt": "prompts/label_text.txt",
            "model": "openai/gpt-4o-mini",
            "api_base": server.base_url,
        },
        evaluate={"evaluators": judges if judge else []},
        load={
            "destination": "out/label.parquet",
            "schema": {
                "label_given": {"type": "string", "enum": names},
                "confidence": {"type": "float", "minimum": 0, "maximum": 1},
                "reasoning": "string",
            },
        },
    )


def spent(project: Project) -> float:
    with sqlite3.connect(project.root / ".loom" / "ledger.sqlite") as connection:
        (picodollars,) = connection.execute("select sum(spent) from spend").fetchone()
    return float(picodollars) * 1e-12
