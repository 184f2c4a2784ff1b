"""A project whose questions go through batches of a server on this machine, and its books."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loom_dagster.assembly import Loom
from loom_dagster.pipeline import Outcome, Stop
from loom_dagster.settings import RunOptions
from tests.journeys.project import Project, ids
from tests.servers.batches import BatchServer

PRICE = {"input": 1.0, "output": 2.0}  # USD a million tokens, as the server charges; batches at half


@dataclass
class Books:
    """What the ledger has: USD."""

    spent: float
    unconfirmed: float
    reserved: float


class BatchProject(Project):
    """``ask`` starts the pipeline in this process."""

    def __init__(self, root: Path, server: BatchServer) -> None:
        super().__init__(root)
        self.server = server
        self.environ = {
            "OPENAI_API_KEY": "key-1234",
            "ANTHROPIC_API_KEY": "key-5678",
            "LOOM_BATCH_POLL": "0.05",
        }

    def batch_pipeline(self, name: str = "classify", *, model: str = "openai/any", **blocks: Any) -> None:
        base = self.server.base_url if model.startswith("openai") else self.server.url
        of_model = {"model": model, "api_base": base, "mode": "batch", "price": PRICE}
        transform = {**of_model, **blocks.pop("transform", {})}
        self.pipeline(name, transform=transform, **blocks)

    def texts(self, number: int) -> dict[str, str]:
        """Records r0, r1, ... with ``text 0.``, ``text 1.``, ..."""
        texts = {f"r{i}": f"text {i}." for i in range(number)}
        self.reviews(texts)
        return texts

    def ask(self, name: str = "classify", **options: Any) -> Outcome:
        loom = Loom.open(self.root)
        outcome = loom.run(name, RunOptions(**options))
        if outcome.released:
            loom.load(name)
        return outcome

    def wait(self, *batches: str) -> bool:
        loom = Loom.open(self.root)
        return loom.batching.wait(batches, Stop(), timeout=20)

    def books(self) -> Books:
        with sqlite3.connect(self.root / ".loom" / "ledger.sqlite") as db:
            spent, unconfirmed = db.execute(
                "select coalesce(sum(spent), 0), coalesce(sum(unconfirmed), 0) from spend"
            ).fetchone()
            [reserved] = db.execute("select coalesce(sum(reserved), 0) from batches").fetchone()
        return Books(spent * 1e-12, unconfirmed * 1e-12, reserved * 1e-12)

    def quarantined(self, outcome: Outcome) -> dict[str, str]:
        """Kind by id."""
        rows = zip(
            ids(outcome.quarantine_path, "record_id"), ids(outcome.quarantine_path, "kind"), strict=True
        )
        return dict(rows)


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with BatchServer() as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch) -> BatchProject:
    made = BatchProject(tmp_path / "project", server)
    for name, value in made.environ.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def passed() -> Callable[[Outcome], list[str]]:
    return lambda outcome: ids(outcome.transformed_path, "_loom_record_id")
