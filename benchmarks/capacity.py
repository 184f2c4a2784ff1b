"""How many workers a job needs, how long it takes and what it costs; and what is full first.

    python -m benchmarks.capacity --records 10_000_000 --hours 6 --latency 2 --in-flight 2000 --price 0.15 0.60

Each part of a run can settle so many records a second; the smallest of these rates is that of the whole. What each part
takes is measured (docs/capacity.md says how); give your own with --worker-ms and so on.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Answer", "Job", "Measured", "Quota", "Tokens", "answer", "main", "rates", "workers_for"]

USE = 0.8
"""Share of a core that is planned with: beyond it queues grow."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """CPU milliseconds: of a worker a record with no call and for each of its calls, of the driver a record, of the till for
    an exchange and for each call in it, of a run on one machine."""

    worker_record: float = 0.05
    worker_call: float = 0.40
    driver_record: float = 0.04
    till_exchange: float = 1.6
    till_call: float = 0.03
    local_record: float = 0.06
    local_call: float = 0.58

    def worker(self, calls: float) -> float:
        return self.worker_record + calls * self.worker_call

    def local(self, calls: float) -> float:
        return self.local_record + calls * self.local_call

    def till(self, calls: float) -> float:
        """At its limit, when each exchange brings many calls."""
        return calls * (self.till_call + self.till_exchange / FULL)


PAUSE, EACH = 0.02, 0.002
"""Seconds that a worker leaves between two messages to the till, and for each worker as much again: see ledger/till.py."""

FULL = 16
"""Calls in one exchange when the till is near its limit: workers gather them while it is busy."""


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Of one call, and USD for a million of them."""

    input: float = 500.0
    output: float = 100.0
    input_price: float = 0.0
    output_price: float = 0.0

    @property
    def cost(self) -> float:
        """USD."""
        return (self.input * self.input_price + self.output * self.output_price) / 1e6


@dataclass(frozen=True, kw_only=True)
class Quota:
    """What the provider, or ``limits``, allows; None: as much as you like."""

    in_flight: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """``calls`` for a record, judges and repairs included, each of which takes ``latency`` seconds; ``again``: share of calls that
    fail and are made once more (they count against a quota, and cost nothing)."""

    records: int
    calls: float = 1.0
    latency: float = 1.0
    again: float = 0.0
    tokens: Tokens = field(default_factory=Tokens)

    @property
    def cost(self) -> float:
        """USD."""
        return self.records * self.calls * self.tokens.cost


def rates(job: Job, quota: Quota, measured: Measured, *, workers: int, use: float = USE) -> dict[str, float]:
    """Records a second that each part can settle; without workers the job runs on one machine."""
    core = use * 1000  # CPU ms in a second
    asked = job.calls * (1 + job.again)
    found: dict[str, float] = {}
    if quota.in_flight is not None:
        found["calls in flight"] = quota.in_flight / (asked * (job.latency + to_the_till(workers)))
    if quota.requests_per_minute is not None:
        found["requests a minute"] = quota.requests_per_minute / 60 / asked
    if quota.tokens_per_minute is not None:
        found["tokens a minute"] = (
            quota.tokens_per_minute / 60 / (asked * (job.tokens.input + job.tokens.output))
        )
    if workers == 0:
        return found | {"CPU of one process": core / measured.local(job.calls)}
    found["CPU of the workers"] = workers * core / measured.worker(job.calls)
    found["the till"] = core / measured.till(job.calls)
    found["the driver"] = core / measured.driver_record
    return found


def to_the_till(workers: int) -> float:
    """Seconds for which an answer keeps its call's place while it waits for its worker's next message to the till."""
    return (PAUSE + EACH * workers) / 2 if workers else 0.0


def workers_for(job: Job, measured: Measured, rate: float) -> int:
    """Workers that settle ``rate`` records a second; 0 where one process on one machine does."""
    if rate <= USE * 1000 / measured.local(job.calls):
        return 0
    return math.ceil(rate * measured.worker(job.calls) / (USE * 1000))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """``full``: the part that is full first, and what it can do. ``needs``: the quota that the wanted time needs."""

    workers: int
    rate: float
    hours: float
    cost: float
    full: str
    rates: Mapping[str, float]
    wanted: float
    needs: Mapping[str, float]

    @property
    def in_time(self) -> bool:
        return self.rate >= self.wanted * (1 - 1e-9)


def answer(job: Job, quota: Quota, measured: Measured, *, hours: float, workers: int | None = None) -> Answer:
    """For ``hours`` at most; ``workers``: those that there are (0: one machine), else as many as are needed."""
    wanted = job.records / (hours * 3600)
    if workers is None:
        reached = min([wanted, *_beyond_workers(job, quota, measured)])
        workers = workers_for(job, measured, reached)
    found = rates(job, quota, measured, workers=workers)
    full = min(found, key=found.__getitem__)
    asked = wanted * job.calls * (1 + job.again)
    return Answer(
        workers=workers,
        rate=found[full],
        hours=job.records / found[full] / 3600,
        cost=job.cost,
        full=full,
        rates=found,
        wanted=wanted,
        needs={
            "calls in flight": asked * job.latency,
            "requests a minute": asked * 60,
            "tokens a minute": asked * 60 * (job.tokens.input + job.tokens.output),
        },
    )


def _beyond_workers(job: Job, quota: Quota, measured: Measured) -> list[float]:
    """What no number of workers changes."""
    return [rate for part, rate in rates(job, quota, measured, workers=1).items() if "workers" not in part]


def main(arguments: list[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    measured = Measured(**{name: getattr(given, name) for name in vars(Measured())})
    job = Job(
        records=given.records,
        calls=given.calls,
        latency=given.latency,
        again=given.again,
        tokens=Tokens(
            input=given.input_tokens,
            output=given.output_tokens,
            input_price=given.price[0],
            output_price=given.price[1],
        ),
    )
    quota = Quota(
        in_flight=given.in_flight,
        requests_per_minute=given.requests_per_minute,
        tokens_per_minute=given.tokens_per_minute,
    )
    found = answer(job, quota, measured, hours=given.hours, workers=given.workers)
    print(said(job, found, hours=given.hours))


def said(job: Job, found: Answer, *, hours: float) -> str:
    """The answer in words."""
    where = (
        f"{found.workers} worker{'s' * (found.workers != 1)} on Ray"
        if found.workers
        else "one machine, `engine: local`"
    )
    lines = [
        f"{job.records:,} records in {hours:g} h are {found.wanted:,.1f} a second.",
        f"{where}: {min(found.rate, found.wanted) if found.in_time else found.rate:,.1f} a second, "
        f"{max(found.hours, hours) if found.in_time else found.hours:,.1f} h"
        + ("." if found.in_time else f": not in time. Full first: {found.full}."),
        f"Calls cost {job.cost:,.2f} USD.",
        "",
        f"{'part':<22}{'records/s':>12}{'used':>8}",
    ]
    now = min(found.rate, found.wanted)
    for part, rate in sorted(found.rates.items(), key=lambda item: item[1]):
        lines.append(f"{part:<22}{rate:>12,.0f}{now / rate:>8.0%}")
    lines += ["", "The time needs of the provider:"]
    lines += [f"  {amount:,.0f} {what}" for what, amount in found.needs.items()]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.capacity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--records", type=_positive_int, required=True)
    add("--hours", type=_positive, required=True)
    add("--workers", type=_count, help="those that there are; 0: one machine. Else as many as are needed")
    add("--calls", type=_positive, default=1.0, help="for a record, with judges and repairs (1)")
    add("--latency", type=_positive, default=1.0, help="seconds of a call (1)")
    add("--again", type=_share, default=0.0, help="share of calls that fail and are made again (0)")
    add("--input-tokens", type=_positive, default=500.0, help="of a call (500)")
    add("--output-tokens", type=_positive, default=100.0, help="of a call (100)")
    add(
        "--price",
        type=_amount,
        nargs=2,
        default=(0.0, 0.0),
        metavar=("INPUT", "OUTPUT"),
        help="USD a million tokens",
    )
    add("--in-flight", type=_positive_int, help="calls at a time")
    add("--requests-per-minute", type=_positive_int)
    add("--tokens-per-minute", type=_positive_int)
    for name, value in vars(Measured()).items():
        add(
            f"--{name.replace('_', '-')}",
            type=_positive,
            default=value,
            metavar="MS",
            help=f"CPU ms ({value:g})",
        )
    return parser


def _number(text: str, least: float, words: str, most: float = math.inf) -> float:
    try:
        value = float(text.replace("_", "").replace(",", ""))
    except ValueError:
        value = math.nan
    if not least <= value <= most or value == math.inf:
        raise argparse.ArgumentTypeError(f"`{text}` is not {words}")
    return value


def _positive(text: str) -> float:
    return _number(text, 1e-9, "a number above 0")


def _amount(text: str) -> float:
    return _number(text, 0.0, "a price: a number from 0 up")


def _share(text: str) -> float:
    return _number(text, 0.0, "a share: a number from 0 to 1", 1.0)


def _count(text: str) -> int:
    return int(_number(text, 0, "a number of workers, from 0 up"))


def _positive_int(text: str) -> int:
    return int(_number(text, 1, "a whole number above 0"))


if __name__ == "__main__":
    main()
