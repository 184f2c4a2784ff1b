"""A cluster of up to 1,000 workers in virtual time, held against the formula of capacity.py.

    python -m benchmarks.scaling [--workers 1 2 10 100 1000] [--seconds 30]

Simulated seconds; the real ones are many fewer. Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

from benchmarks.capacity import Job, Measured, Quota, rates
from benchmarks.setting import Row
from benchmarks.simulated import simulate
from benchmarks.stand_ins import Scene, Seen
from benchmarks.tables import Table, heading

__all__ = ["formula", "main", "scenes"]


def formula(scene: Scene) -> tuple[float, str]:
    """Records a second, and the part that is full."""
    quota = Quota(
        in_flight=min(scene.in_flight, scene.cap or scene.in_flight),
        requests_per_minute=scene.requests_per_minute,
    )
    found = rates(
        Job(records=1, latency=scene.latency), quota, scene.measured, workers=scene.workers, use=1.0
    )
    full = min(found, key=found.__getitem__)
    return found[full], full


DISTURBED = "with "
"""Scenes where the formula is not meant to hold: what must hold is told by the other columns."""


def scenes(workers: int, seconds: float) -> dict[str, Scene]:
    """What is tried with so many workers; each is held up by something else."""
    most = max(256, 4 * workers)
    usual = Scene(
        workers=workers, in_flight=most, seconds=seconds, block=16
    )  # small: no long way up to what is usual
    ends = 0.0005 * most * seconds / 3  # USD: gone after a third of the time
    return {
        "calls in flight": usual,
        "requests a minute": replace(usual, in_flight=2 * most, requests_per_minute=30 * most),
        "workers' CPU": replace(
            usual, measured=Measured(worker_record=200.0), in_flight=4 * workers, latency=0.3, block=8
        ),
        "the till": replace(
            usual,
            measured=Measured(driver_record=0.001, worker_record=0.01, worker_call=0.04),
            in_flight=max(5000, 5 * workers),
            latency=0.2,
            seconds=3.0,
            warm=1.0,
        ),
        f"{DISTURBED}a provider that takes half": replace(
            usual, cap=most // 2, seconds=2 * seconds, warm=seconds
        ),
        f"{DISTURBED}a till that is away for 10 s": replace(
            usual, down=(seconds / 2, seconds / 2 + 10), seconds=seconds + 10
        ),
        f"{DISTURBED}a worker that dies": replace(usual, dies=(seconds / 2, 2.0, 3.0)),
        f"{DISTURBED}a budget that ends": replace(usual, records=10**9, budget=ends),
        f"{DISTURBED}the same, worker dead, till away": replace(
            usual,
            records=10**9,
            budget=ends,
            dies=(seconds / 6, 2.0, 3.0),
            down=(seconds / 4, seconds / 4 + 5),
        ),
    }


def row(name: str, scene: Scene) -> tuple[Row, Seen]:
    began = time.process_time()
    seen = simulate(scene)
    wanted, full = formula(scene)
    found: Row = {
        "contestant": f"{scene.workers:,}: {name}",
        "full": full,
        "rate": seen.rate,
        "most": seen.most,
        "limit": scene.in_flight,
        "refused": seen.refused / max(seen.calls + seen.refused, 1),
        "over": 0.0 if scene.budget is None else max(0.0, max(seen.paid, seen.booked) - scene.budget),
        "gap": seen.gap,
        "till": seen.till,
        "worker": seen.worker,
        "driver": seen.driver,
        "an_exchange": seen.calls_an_exchange,
        "took": time.process_time() - began,
    }
    if not name.startswith(DISTURBED):
        found |= {"formula": wanted, "off": seen.rate / wanted - 1}
    if scene.budget is not None:
        found |= {"used": seen.paid / scene.budget, "stall": seen.stall}
    return found, seen


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 10, 100, 1000])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--scenes", nargs="+", default=[""], help="parts of their names")
    given = parser.parse_args()
    rows = []
    for workers in given.workers:
        for name, scene in scenes(workers, given.seconds).items():
            if not any(part in name for part in given.scenes):
                continue
            rows.append(row(name, scene)[0])
            print(rows[-1], file=sys.stderr)
    print(heading(sys.argv[1:], "benchmarks.scaling"))
    print(
        Table(
            title="A cluster in virtual time",
            text="What holds it up stands beside the number of workers; `formula` is the smallest of the rates of capacity.py.",
            columns={
                "rate": ("records/s", ",.1f"),
                "formula": ("formula", ",.1f"),
                "off": ("off by", ".1%"),
                "most": ("most calls at once", ",.0f"),
                "limit": ("allowed", ",.0f"),
                "refused": ("refused", ".2%"),
                "over": ("overspend, USD", ".6f"),
                "used": ("budget used", ".1%"),
                "stall": ("from its end to the run's, s", ".1f"),
                "gap": ("longest time without a call, s", ".2f"),
                "till": ("till, cores", ".2f"),
                "worker": ("a worker", ".2f"),
                "driver": ("driver", ".2f"),
                "an_exchange": ("calls an exchange", ".2f"),
            },
            rows=rows,
        ).markdown()
    )


if __name__ == "__main__":
    main()
