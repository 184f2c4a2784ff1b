"""The project that soaks: files, a table and a pipeline that reads another one, each run by what comes to it."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

__all__ = ["IN_FLIGHT", "LAG", "PIPELINES", "SECRET", "Record", "records", "write_project"]

IN_FLIGHT = 4
LAG = 60.0  # seconds by which a row may be late
SECRET = "soak-signing-secret"  # noqa: S105 - of a server that lives as long as the soak
PIPELINES = ("notes", "orders", "digest")
_FEELINGS = ("positive", "negative", "neutral")
_BAD_BATCH, _BAD = 0.12, 0.03

_SETTINGS = """\
[tool.loom]
model = "openai/soak"
alerts = "ops"

[tool.loom.channels.ops]
type = "webhook"
"""
_YAML = """\
name: {name}
extract: {{source: "{source}", key: id{extract}}}
trigger: {{on: new_data, every: {every}s}}
transform:
  prompt: prompts/{name}.txt
  api_base: "{api_base}"
  structured_output: true
  limits: {{in_flight: {in_flight}}}
evaluate:
  evaluators: [{{name: agrees, type: exact_match, field: {field}, reference_field: {reference}}}]
  batch_threshold: {threshold}
load:
  destination: "sqlite:///data/warehouse.db/{name}"
  mode: {mode}
  schema: {{{field}: {{type: string, enum: [positive, negative, neutral]}}}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """``answer``: what the model says to ``text``; ``expected``: what the source says it should. Where they differ the
    record belongs into the quarantine."""

    id: str
    text: str
    answer: str
    expected: str

    @property
    def good(self) -> bool:
        return self.answer == self.expected


def records(kind: str, batches: int, seed: int) -> list[list[Record]]:
    """Everything that will come, batch by batch, decided beforehand: the model has to know the texts. Some batches are
    so bad that their gate holds them."""
    chance, made, number = random.Random(f"{kind} {seed}"), [], 0  # noqa: S311 - repeatable, not secret
    for _ in range(batches):
        bad = 0.6 if chance.random() < _BAD_BATCH else _BAD
        batch = []
        for _ in range(chance.randint(3, 9)):
            answer = chance.choice(_FEELINGS)
            wrong = _FEELINGS[(_FEELINGS.index(answer) + 1) % 3]
            expected = wrong if chance.random() < bad else answer
            identity = f"{kind}-{number:05}"
            text = f"{identity} says that it was {chance.choice(('fast', 'late', 'so so'))}"
            batch.append(Record(id=identity, text=text, answer=answer, expected=expected))
            number += 1
        made.append(batch)
    return made


def write_project(root: Path, api_base: str) -> None:
    """Everything but the data."""
    for folder in ("pipelines", "prompts", "data/in"):
        (root / folder).mkdir(parents=True)
    (root / "pyproject.toml").write_text(_SETTINGS, encoding="utf-8")
    lag = f"incremental: {{cursor: updated_at, lag: {LAG:.0f}s}}"
    pipelines = {
        "notes": {
            "source": "data/in/*.jsonl",
            "extract": ", incremental: true",
            "mode": "append",
            "every": 10,
        },
        "orders": {
            "source": "sqlite:///data/shop.db/orders",
            "extract": f", {lag}",
            "mode": "upsert",
            "every": 10,
        },
        "digest": {"source": "pipeline://notes", "extract": "", "mode": "upsert", "every": 15},
    }
    for name, given in pipelines.items():
        (root / "prompts" / f"{name}.txt").write_text(
            f"For {name}. Review: {{{{ input.text }}}}\n", encoding="utf-8"
        )
        said = _YAML.format(
            name=name,
            api_base=api_base,
            in_flight=IN_FLIGHT,
            field="tone" if name == "digest" else "sentiment",
            reference="expected",
            threshold=0.75,
            **given,
        )
        (root / "pipelines" / f"{name}.yaml").write_text(said, encoding="utf-8")
    with closing(sqlite3.connect(root / "data" / "shop.db")) as shop, shop:
        shop.execute("PRAGMA journal_mode=WAL")
        shop.execute(
            "CREATE TABLE orders (id TEXT PRIMARY KEY, text TEXT, expected TEXT, updated_at TIMESTAMP)"
        )
