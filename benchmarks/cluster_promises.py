"""What must hold on a cluster, at full size: `python -m benchmarks.cluster_promises same|kills|budget [...]`.

A Ray cluster of two nodes of this machine and a model server are started for it, and gone with it. Ends with 1 when a
promise is broken; each line says what was tried and what came of it. tests/cluster/ holds the same in small.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.job import Job, same_tables, serve, sold, texts_of
from tests.cluster.kills import killed_at
from tests.servers.ray_cluster import RayCluster

__all__ = ["main"]

_KILLED = ("worker", "till", "node", "driver")
_LATENCY = 0.05
_HOURS = 6 * 3600.0


def same(cluster: RayCluster, folder: Path, wanted: argparse.Namespace) -> Iterator[str]:
    """The tables of a run on one machine and of one on the cluster, with the same answers, faults among them."""
    texts = texts_of(wanted.records)
    faults = {"wrong_schema": 0.01, "empty": 0.01, "unicode": 0.01, "refusal": 0.01, "500": 0.01}
    outcomes = []
    with serve(texts, faults=faults, mode="sticky", seed=3, max_seconds=_HOURS) as server:
        for name, on in (("local", None), ("ray", cluster)):
            job = Job(
                folder / name, server, texts, on, judged=True, in_flight=64, transform={"max_attempts": 2}
            )
            began = time.monotonic()
            outcomes.append(job.run(timeout=_HOURS))
            counts, stats = outcomes[-1]["counts"], server.stats()
            print(f"{name}: {counts['passed']:,} passed, {counts['quarantined']:,} quarantined, "
                  f"{time.monotonic() - began:.0f} s, {stats['requests']:,} requests, ${sold(stats):.6f} sold")  # fmt: skip
            server.change(reset=True)
    yield from same_tables(*outcomes)
    if outcomes[0]["data_version"] != outcomes[1]["data_version"]:
        yield "the data versions differ"


def kills(cluster: RayCluster, folder: Path, wanted: argparse.Namespace) -> Iterator[str]:
    """Something is killed at a random moment of each run."""
    draw = random.Random(wanted.seed)  # noqa: S311 - moments, no secrets
    texts = texts_of(min(wanted.records, 5000))
    for number in range(wanted.kills):
        what, share = _KILLED[number % len(_KILLED)], draw.uniform(0.05, 0.95)
        cluster.mend()
        with serve(texts, latency=_LATENCY, max_seconds=_HOURS) as server:
            job = Job(folder / f"k{number}", server, texts, cluster, workers=3, in_flight=32, judged=True)
            outcome = job.ended(killed_at(job, what, share, draw))
            stats = server.stats()
            broken = job.broken_promises(outcome, kills=1)
            if job.stored() != len(texts):
                broken.append(f"{job.stored()} answers are kept of {len(texts)}")
            print(f"{what} killed at {share:.0%}: {outcome['counts']['passed']:,} passed, paid {stats['paid']:,}, "
                  f"again {stats['repeated']}, broken: {broken or 'nothing'}")  # fmt: skip
            yield from broken


def budget(cluster: RayCluster, folder: Path, wanted: argparse.Namespace) -> Iterator[str]:
    """Half of the job's price, and something is killed in each run; then the rest is paid."""
    draw = random.Random(wanted.seed)  # noqa: S311 - moments, no secrets
    texts = texts_of(2000)
    half = 0.88
    for what in _KILLED:
        cluster.mend()
        with serve(texts, latency=_LATENCY, max_seconds=_HOURS) as server:
            job = Job(
                folder / f"b-{what}", server, texts, cluster,
                workers=3, in_flight=32, monitoring={"cost_budget": half},
            )  # fmt: skip
            outcome = job.ended(killed_at(job, what, draw.uniform(0.05, 0.45), draw), code=1)
            paid = sold(server.stats())
            print(f"{what} killed: ${paid:.6f} of ${half}, overspent ${max(0.0, paid - half):.6f}, "
                  f"{outcome['counts']['deferred']:,} deferred")  # fmt: skip
            if paid > half:
                yield f"{what}: overspent by ${paid - half:.6f}"


_PROMISES = {"same": same, "kills": kills, "budget": budget}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("promises", nargs="*", help=f"of {', '.join(_PROMISES)}; default: all")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args(arguments)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if unknown := set(wanted.promises) - set(_PROMISES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    broken = 0
    cluster = RayCluster()
    try:
        cluster.start()
        for name in wanted.promises or _PROMISES:
            with tempfile.TemporaryDirectory() as folder:
                for line in _PROMISES[name](cluster, Path(folder), wanted):
                    broken += 1
                    print(f"BROKEN {name}: {line}")
    finally:
        cluster.close()
    print("every promise is kept" if not broken else f"{broken} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
