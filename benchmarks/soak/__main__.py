"""`make soak`: half an hour in which everything comes, breaks and comes back, and then the books.

Files and rows come at random, some of them late; `loom ui` with its daemon is killed and started again five times; the
channel for alerts is down for a third of the time. Afterwards everything is given time to come to rest, and what has to
hold is counted. Exits with 1 when something does not.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.soak.arrivals import Arrivals
from benchmarks.soak.books import Line, alerts, paid, processed, show
from benchmarks.soak.channel import Channel
from benchmarks.soak.project import IN_FLIGHT, PIPELINES, SECRET, Record, records, write_project
from loom_dagster.assembly import Loom
from tests.servers.dagster_ui import ENDED, DagsterUI
from tests.servers.llm import LLMServer

KILLS = 5
BATCHES_A_MINUTE = 4
_FAULTS = {"429": 0.02, "500": 0.02}


@dataclass
class Soak:
    """The parts, and what was done to them."""

    loom: Loom
    ui: DagsterUI
    model: LLMServer
    channel: Channel
    arrivals: Arrivals
    kills: list[float] = field(default_factory=list)  # time.time()
    kills_monotonic: list[float] = field(default_factory=list)
    busy: int = 0

    def say(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    def kill(self, everything: bool) -> None:
        """Preferably while something is going on."""
        end = time.monotonic() + 60
        while not self.model.stats()["in_flight"] and time.monotonic() < end:
            time.sleep(0.05)
        busy = bool(self.model.stats()["in_flight"])
        self.busy += busy
        self.kills.append(time.time())
        self.kills_monotonic.append(time.monotonic())
        if everything:
            self.ui.kill()
        else:
            self.ui.lose_daemon()
        self.say(
            f"killed {'everything' if everything else 'the daemon'}, {'in the middle of' if busy else 'between'} runs"
        )
        self.ui.start()
        self.say("up again")

    def table(self, name: str) -> list[tuple[str, str]]:
        """(id, answer) in the destination."""
        with closing(sqlite3.connect(self.ui.root / "data" / "warehouse.db", timeout=30)) as db:
            try:
                what = "tone" if name == "digest" else "sentiment"
                return db.execute(f"SELECT id, {what} FROM {name}").fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise

    def came(self, name: str) -> Mapping[str, Record]:
        """To `digest` comes what `notes` lets through."""
        if name != "digest":
            return self.arrivals.came[name]
        return {i: record for i, record in self.arrivals.came["notes"].items() if record.good}

    def open_ends(self) -> list[str]:
        """What is still to be done, in words."""
        found = []
        for name in PIPELINES:
            missing = {i for i, r in self.came(name).items() if r.good} - {i for i, _ in self.table(name)}
            if missing:
                found.append(f"{name}: {len(missing)} records")
        waiting = sum(row.waiting for row in self.loom.ledger.outbox.deliveries.channels())
        going_on = [s for s in self.ui.statuses().values() if s not in ENDED]
        if waiting:
            found.append(f"{waiting} alerts")
        if going_on:
            found.append(f"{len(going_on)} runs")
        return found

    def release_what_is_held(self) -> None:
        """As a person would who has looked at it; only what was held at the end, when nothing comes any more."""
        for name in PIPELINES:
            newest = self.loom.verdict(name)
            if newest is not None and newest.released_at is None and newest.counts.get("passed"):
                self.loom.release(name, why="the soak: nothing more comes")
                self.say(f"released the last batch of {name}")


def soak(parts: Soak, minutes: float, seed: int) -> None:
    """The time of trouble."""
    seconds, chance = minutes * 60, random.Random(seed)  # noqa: S311 - repeatable, not secret
    began = time.monotonic()
    bringing = parts.arrivals.begin(seconds)
    parts.channel.fail_a_third_of_the_time(max(30.0, seconds / 12))
    for number in range(KILLS):
        moment = seconds * (number + 0.3 + 0.5 * chance.random()) / KILLS
        time.sleep(max(0.0, began + moment - time.monotonic()))
        parts.kill(everything=number % 2 == 0)
    bringing.join()
    if parts.arrivals.error is not None:
        raise parts.arrivals.error
    parts.channel.heal()


def rest(parts: Soak, patience: float) -> list[str]:
    """Until nothing is to be done any more; gives what still is when patience ends."""
    end, last = time.monotonic() + patience, [""]
    quiet = 0
    while time.monotonic() < end:
        left = parts.open_ends()
        if left != last:
            parts.say("to be done: " + (", ".join(left) or "nothing"))
            last = left
        quiet = 0 if left else quiet + 1
        if quiet == 3:  # an alert may be told late
            return []
        if any("records" in word for word in left) and not any("runs" in word for word in left):
            parts.release_what_is_held()
        time.sleep(10)
    return left


def books(parts: Soak, left: list[str]) -> list[Line]:
    loom, lines = parts.loom, list[Line]()
    for name in PIPELINES:
        open_ones = [entry.record_id for entry in loom.quarantine(name)]
        lines += processed(name, parts.came(name), parts.table(name), open_ones)
    lines += paid(
        parts.model.stats(), parts.model.repeats(), parts.kills_monotonic, IN_FLIGHT * len(PIPELINES)
    )
    told = [
        {**asdict(row), "deliveries": [asdict(d) for d in sent]} for row, sent in loom.ledger.outbox.list()
    ]
    held = [
        (name, run.run_id) for name in PIPELINES for run in loom.ledger.runs(name) if run.status == "held"
    ]
    lines += alerts(told, held, parts.channel.received, parts.kills, "ops")
    statuses = list(parts.ui.statuses().values())
    return [
        Line(what="kills", count=len(parts.kills), wrong=["too few"] * (len(parts.kills) < KILLS)),
        Line(what="of them in the middle of a run", count=parts.busy),
        Line(what="rows that came late", count=parts.arrivals.late),
        Line(what="files written again", count=parts.arrivals.rewritten),
        Line(what="seconds that the channel was down", count=round(parts.channel.seconds_down)),
        Line(what="runs", count=len(statuses)),
        Line(what="runs that failed", count=statuses.count("FAILURE")),
        *lines,
        Line(what="to be done in the end", count=len(left), wrong=left),
    ]


def environ(channel: Channel) -> dict[str, str]:
    said = ("LOOM_", "DAGSTER_", "OPENAI_")
    own = {k: v for k, v in os.environ.items() if not k.startswith(said)}
    own |= {"OPENAI_API_KEY": "k", "LOOM_CHANNEL_OPS": channel.url, "LOOM_CHANNEL_OPS_SECRET": SECRET}
    return own


@contextmanager
def parts(root: Path, minutes: float, seed: int) -> Iterator[Soak]:
    batches = max(6, round(minutes * BATCHES_A_MINUTE))
    notes, orders = records("notes", batches, seed), records("orders", batches, seed)
    labels = {record.text: record.answer for batch in (*notes, *orders) for record in batch}
    model = LLMServer(
        process=True, latency=0.5, jitter=1.0, faults=_FAULTS, labels=labels, find=r"Review: (.*)",
        max_seconds=minutes * 60 + 7200, seed=seed,
    )  # fmt: skip
    with model, Channel(SECRET) as channel:
        write_project(root, model.base_url)
        for name, value in (said := environ(channel)).items():
            if name.startswith(("LOOM_", "OPENAI_")):
                os.environ[name] = value
        with DagsterUI(root, said) as ui:
            yield Soak(Loom.open(root), ui, model, channel, Arrivals(root, notes, orders, seed))


def main(arguments: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="how long the trouble lasts (30)")
    parser.add_argument(
        "--patience", type=float, default=20.0, help="minutes until everything must have come to rest"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a new folder for the project, which is then kept")
    chosen = parser.parse_args(list(arguments) if arguments is not None else None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    folder = Path(tempfile.mkdtemp(prefix="loom-soak-"))
    try:
        with parts(chosen.keep or folder / "project", chosen.minutes, chosen.seed) as running:
            running.say(f"soaking for {chosen.minutes:g} minutes in {running.ui.root}")
            soak(running, chosen.minutes, chosen.seed)
            running.say("nothing comes any more")
            left = rest(running, chosen.patience * 60)
            lines = books(running, left)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{show(lines)}")
    return int(any(line.wrong for line in lines))


if __name__ == "__main__":
    sys.exit(main())
