"""Measures tools side by side against a local model server, and prints Markdown.

    python -m benchmarks.compare peers --repeats 3
    python -m benchmarks.compare must-hold --repeats 3
    python -m benchmarks.compare rerun kill --records 2000 --contestants loom accrue curator

Scenarios and contestants are described in benchmarks/README.md. What goes on is told on stderr.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import promises, speed
from benchmarks.cluster import cluster
from benchmarks.environments import Unavailable
from benchmarks.setting import Setting
from benchmarks.tables import Table, heading

__all__ = ["main"]

ALL = ("loom", "loom:dagster", "aiohttp", "litellm", "accrue", "curator", "docetl")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """``records``, ``in_flight`` and ``contestants`` are what it is measured with when nothing else is said."""

    measure: Callable[[Setting], Table]
    records: int = 5000
    in_flight: int = 256
    contestants: tuple[str, ...] = ("loom",)


SCENARIOS = {
    "peers": Scenario(measure=speed.plain, contestants=ALL),
    "plain": Scenario(measure=speed.plain, records=20_000, contestants=("loom", "aiohttp")),
    "judge": Scenario(measure=speed.judge, records=20_000, contestants=("loom", "aiohttp")),
    "faults": Scenario(measure=speed.faults, contestants=ALL),
    "rerun": Scenario(measure=speed.rerun, records=20_000),
    "cap": Scenario(measure=promises.cap),
    "budget": Scenario(measure=promises.budget),
    "kill": Scenario(measure=promises.kill, records=3000, in_flight=64),
    "memory": Scenario(measure=promises.memory),
    "cluster": Scenario(measure=cluster, records=20_000, contestants=("loom", "loom:ray")),
}
GROUPS = {
    "all": (*SCENARIOS,),
    "must-hold": ("plain", "judge", "rerun", "cap", "budget", "kill", "memory"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "scenarios",
        nargs="*",
        default=["peers"],
        metavar="SCENARIO",
        help=f"{', '.join([*SCENARIOS, *GROUPS])}",
    )
    parser.add_argument("--contestants", nargs="+", metavar="NAME[:VARIANT]", help=f"of {', '.join(ALL)}")
    parser.add_argument("--records", type=int)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds")
    parser.add_argument("--in-flight", type=int)
    parser.add_argument("--repeats", type=int, default=1, help="medians are taken")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000], help="of `memory`")
    parser.add_argument("--here", action="store_true", help="no environments: everybody with this Python")
    given = parser.parse_args()
    wanted = [name for asked in given.scenarios for name in GROUPS.get(asked, (asked,))]
    unknown = [name for name in wanted if name not in SCENARIOS]
    if unknown:
        parser.error(f"no scenario `{unknown[0]}`; there are {', '.join([*SCENARIOS, *GROUPS])}")
    print(heading(sys.argv[1:]))
    for name in wanted:
        scenario = SCENARIOS[name]
        print(name, file=sys.stderr)
        setting = Setting(
            records=given.records or scenario.records,
            contestants=tuple(given.contestants or scenario.contestants),
            latency=given.latency,
            in_flight=given.in_flight or scenario.in_flight,
            repeats=given.repeats,
            kills=given.kills,
            sizes=tuple(given.sizes),
            here=given.here,
        )
        try:
            print(scenario.measure(setting).markdown(), flush=True)
        except Unavailable as reason:
            print(f"not measured: {reason}", flush=True)


if __name__ == "__main__":
    main()
