"""What comes, at random moments: files, some of them written twice, and rows, some of them late."""

from __future__ import annotations

import json
import random
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.soak.project import LAG, Record

__all__ = ["Arrivals"]


class Arrivals:
    """Brings every batch within ``seconds``; ``came`` is what is there to be found, by pipeline and id."""

    def __init__(
        self, root: Path, notes: Sequence[Sequence[Record]], orders: Sequence[Sequence[Record]], seed: int
    ) -> None:
        self._root, self._notes, self._orders = root, notes, orders
        self._chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self.came: dict[str, dict[str, Record]] = {"notes": {}, "orders": {}}
        self.late = self.rewritten = 0
        self.error: BaseException | None = None

    def begin(self, seconds: float) -> threading.Thread:
        thread = threading.Thread(target=self._bring, args=(seconds,), name="arrivals", daemon=True)
        thread.start()
        return thread

    def _bring(self, seconds: float) -> None:
        moments = [(self._chance.uniform(0, seconds), "notes", number) for number in range(len(self._notes))]
        moments += [
            (self._chance.uniform(0, seconds), "orders", number) for number in range(len(self._orders))
        ]
        began, pause = datetime.now(UTC), threading.Event()
        try:
            for moment, kind, number in sorted(moments):
                pause.wait(max(0.0, moment - (datetime.now(UTC) - began).total_seconds()))
                if kind == "notes":
                    self._file(number)
                else:
                    self._rows(number)
        except BaseException as error:  # noqa: BLE001 - told by whoever waits for the thread
            self.error = error

    def _file(self, number: int) -> None:
        """Whole or not there; now and then an earlier one is written again as it was, with one record more."""
        batch = list(self._notes[number])
        if number and self._chance.random() < 0.1:
            self.rewritten += 1
            earlier = self._chance.randrange(number)
            if (self._path(earlier)).exists():
                self._write(earlier, [*self._read(earlier), batch.pop()])
        self._write(number, batch)

    def _write(self, number: int, batch: Sequence[Record]) -> None:
        hidden = self._path(number).with_suffix(".part")
        lines = [{"id": r.id, "text": r.text, "expected": r.expected} for r in batch]
        hidden.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        hidden.rename(self._path(number))
        self.came["notes"] |= {record.id: record for record in batch}

    def _read(self, number: int) -> list[Record]:
        lines = self._path(number).read_text(encoding="utf-8").splitlines()
        return [self.came["notes"][json.loads(line)["id"]] for line in lines]

    def _path(self, number: int) -> Path:
        return self._root / "data" / "in" / f"{number:05}.jsonl"

    def _rows(self, number: int) -> None:
        """One transaction a batch; a third of the rows say that they are older than what is there already."""
        batch, now = self._orders[number], datetime.now(UTC).replace(tzinfo=None)
        rows = []
        for record in batch:
            late = self._chance.random() < 0.33
            self.late += late
            at = now - timedelta(seconds=self._chance.uniform(1, LAG * 0.6) if late else 0)
            rows.append((record.id, record.text, record.expected, at.isoformat(" ", "microseconds")))
        with closing(sqlite3.connect(self._root / "data" / "shop.db", timeout=30)) as shop, shop:
            shop.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", rows)
        self.came["orders"] |= {record.id: record for record in batch}
