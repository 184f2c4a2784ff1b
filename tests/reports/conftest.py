"""A project whose ledger remembers runs, and `loom` on it, in this process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from loom_dagster.cli.main import run_cli
from loom_dagster.clock import SystemClock
from loom_dagster.ledger import IndexRow, Ledger, SnapshotRow

PIPELINE = """name: {name}
extract: {{source: data/in.csv, key: id}}
transform: {{prompt: prompts/ask.txt}}
load: {{destination: out/{name}.csv, schema: {{x: string}}}}
"""


class HandClock(SystemClock):
    def __init__(self):
        self.time = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)

    def now(self):
        return self.time


def score(name="quality", mean=0.8, **changes):
    return {
        "name": name, "type": "semantic", "threshold": 0.7, "passed": 8, "failed": 1, "errors": 1,
        "mean": mean, "std": 0.1, "min": 0.5, "max": 1.0, "histogram": [0] * 10, **changes,
    }  # fmt: skip


@dataclass
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


class Project:
    def __init__(self, root, capsys):
        self.root, self._capsys, self.clock = root, capsys, HandClock()
        self.write("pyproject.toml", "[tool.loom]\nmodel = 'offline/demo'\n")
        self.write("prompts/ask.txt", "{{ input.text }}\n")

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def pipeline(self, name, more=""):
        self.write(f"pipelines/{name}.yaml", PIPELINE.format(name=name) + more)

    def ledger(self):
        return Ledger(self.root / ".loom" / "ledger.sqlite", clock=self.clock)

    def ran(
        self, name, partition="", status="succeeded", *, rate=0.8, cost=0.5, scores=(), wrong=0, **metrics
    ):
        """A run that has ended; its id. Each begins an hour after the one before."""
        self.clock.time += timedelta(hours=1)
        with self.ledger() as ledger:
            run = ledger.begin_run(name, partition, "f", fresh=True)
            now = self.clock.now()
            released = {"released_at": now, "released_by": "gate"} if status == "succeeded" else {}
            ledger.finish_run(
                run,
                status,
                outcome={"status": status},
                metrics={"extracted": 10, "passed": 8, "quarantined": 2, "cost": cost, "seconds_total": 3, **metrics},
                evaluations=scores,
                snapshot=SnapshotRow(
                    run_id=run.run_id, pipeline=name, partition=partition, created_at=now, folder=run.run_id,
                    data_version="v", counts={}, verdict_passed=True, verdict_reason="", pass_rate=rate, **released,
                ),
                quarantine_rows=[
                    IndexRow(record_id=str(n), stage="evaluate", kind="gate_failed", reason="low") for n in range(wrong)
                ],
            )  # fmt: skip
        return run.run_id

    def loom(self, *words):
        self._capsys.readouterr()
        code = run_cli([*words, "--project", str(self.root)])
        said = self._capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return Said(code, said.out, said.err)


@pytest.fixture
def project(tmp_path, capsys):
    return Project(tmp_path / "shop", capsys)
