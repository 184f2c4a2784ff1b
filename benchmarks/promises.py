"""What must hold however hard it is pushed: a provider's cap, a budget, kill -9, and memory that does not grow."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from benchmarks.environments import Unavailable
from benchmarks.runs import Result, Running, serve
from benchmarks.setting import Row, Setting, measured, run
from benchmarks.tables import Table
from tests.servers.llm import LLMServer

__all__ = ["budget", "cap", "kill", "memory"]

CAP = 32
PRICE = {"input": 1.0, "output": 4.0}
"""USD per million tokens."""


def cap(setting: Setting) -> Table:
    """A provider that takes fewer requests at a time than we are allowed to send."""
    warm = setting.records // 10

    def measure(contestant: str, folder: Path) -> Row:
        with serve(setting.records, latency=setting.latency, cap=CAP) as server:
            running = run(setting, contestant, folder, server)
            wait_for(running, server, warm)
            server.change(reset=True)
            began = time.monotonic()
            result = running.wait(server)
        stats = result.stats
        return {
            "used": stats["busy_seconds"] / (CAP * (stats["last_answer"] - began)),
            "refused": stats["refused"] / stats["requests"],
            "refused_count": stats["refused"],
            "lost": result.lost,
            "double": result.double,
            "wrong": result.wrong,
        }

    return Table(
        title=f"A provider's cap of {CAP} in flight, {setting.in_flight} allowed",
        text=(
            f"{setting.records:,} records, {setting.latency * 1000:.0f} ms latency; a request above the cap gets 429 at once. "
            f"Counted by the server from the {warm:,}th answer to the last."
        ),
        columns={
            "used": ("share of the cap used", ".1%"),
            "refused": ("share of requests refused", ".2%"),
            "refused_count": ("refused", ".0f"),
            "lost": ("lost", ".0f"),
            "double": ("double", ".0f"),
            "wrong": ("wrong", ".0f"),
            "runs": ("runs", ".0f"),
        },
        rows=measured(setting, measure),
    )


def budget(setting: Setting) -> Table:
    """A budget of half of what the job costs; what was paid is the server's count of tokens times the price."""

    def measure(contestant: str, folder: Path) -> Row:
        with serve(setting.records, latency=setting.latency) as server:
            full = run(
                setting, contestant, folder / "full", server, pipeline={"transform": {"price": PRICE}}
            ).wait(server)
        half = cost(full.stats) / 2
        settings = {"transform": {"price": PRICE}, "monitoring": {"cost_budget": half}}
        with serve(setting.records, latency=setting.latency) as server:
            running = run(setting, contestant, folder / "half", server, pipeline=settings)
            result = running.wait(server, may_fail=True)
        if result.exit_code == 2:
            raise Unavailable(running.last_words())
        return {
            "budget": half,
            "paid": cost(result.stats),
            "overspend": cost(result.stats) - half,
            "used": cost(result.stats) / half,
            "loaded": setting.records - result.lost,
            "double": result.double,
            "wrong": result.wrong,
            "exit_code": result.exit_code,
        }

    return Table(
        title="A budget of half the job",
        text=f"{setting.records:,} records, {setting.in_flight} in flight. Overspend is what the server was owed less the budget.",
        columns={
            "budget": ("budget, USD", ".6f"),
            "paid": ("paid, USD", ".6f"),
            "overspend": ("overspend, USD", ".6f"),
            "used": ("share used", ".1%"),
            "loaded": ("rows loaded", ".0f"),
            "double": ("double", ".0f"),
            "wrong": ("wrong", ".0f"),
            "exit_code": ("exit code", ".0f"),
            "runs": ("runs", ".0f"),
        },
        rows=measured(setting, measure),
    )


def cost(stats: dict[str, Any]) -> float:
    """USD."""
    return float(stats["input_tokens"] * PRICE["input"] + stats["output_tokens"] * PRICE["output"]) / 1e6


def kill(setting: Setting) -> Table:
    """One job, killed at random moments and started again each time, then left to end."""

    def measure(contestant: str, folder: Path) -> Row:
        draw = random.Random(setting.kills)  # noqa: S311 - no secret
        shares = sorted(draw.uniform(0.02, 0.98) for _ in range(setting.kills))
        ages: list[float] = []
        unanswered = lost = 0
        with serve(setting.records, latency=setting.latency) as server:
            sessions = []
            for share in shares:
                started = time.monotonic()
                running = run(setting, contestant, folder, server)
                wait_for(running, server, share * setting.records)
                time.sleep(draw.uniform(0, setting.latency))
                stopped = running.stop()
                sessions.append((started, stopped, server.stats()["in_flight"]))
                running.kill()
                while server.stats()["in_flight"]:  # what it still answers, it answers to nobody
                    time.sleep(0.01)
            ended = time.monotonic()
            result = run(setting, contestant, folder, server).wait(server)
            again = server.repeats()
        for started, stopped, asked in sessions:
            received = [stopped - delivered for delivered in again if started <= delivered <= stopped]
            ages += received
            unanswered += asked
            lost += max(0, len(received) - (setting.in_flight - asked))
        return {
            "kills": len(sessions),
            "asked": unanswered / len(sessions),
            "paid_twice": len(again),
            "age": max(ages, default=0.0) * 1000,
            "received_and_lost": lost + sum(delivered > ended for delivered in again),
            "lost": result.lost,
            "double": result.double,
            "wrong": result.wrong,
        }

    return Table(
        title="kill -9 and start again",
        text=(
            f"{setting.records:,} records, {setting.latency * 1000:.0f} ms latency, {setting.in_flight} in flight, one job killed "
            f"{setting.kills} times. At a kill a tool has at most {setting.in_flight} calls open: those that the server has not answered, "
            "and answers that it has not taken in yet. What was delivered before a kill and is paid twice beyond that many is "
            "received and lost. (What the server delivers to a process that is dead is paid twice as well, and nobody's fault.)"
        ),
        columns={
            "kills": ("kills", ".0f"),
            "asked": ("unanswered at a kill, mean", ".0f"),
            "paid_twice": ("answers paid twice", ".0f"),
            "age": ("the oldest of them at the kill, ms", ".0f"),
            "received_and_lost": ("received and lost", ".0f"),
            "lost": ("rows lost", ".0f"),
            "double": ("double", ".0f"),
            "wrong": ("wrong", ".0f"),
        },
        rows=measured(setting, measure, repeats=1),
    )


def memory(setting: Setting) -> Table:
    """Runs of growing size with the offline model, which costs no time."""
    rows: list[Row] = []
    for size in setting.sizes:

        def measure(contestant: str, folder: Path, size: int = size) -> Row:
            with serve(1) as server:
                offline = {"transform": {"model": "offline/demo"}}
                result: Result = run(
                    setting, contestant, folder, server, records=size, pipeline=offline
                ).wait()
            return {
                "records": size,
                "peak": result.peak_mb,
                "wall": result.wall,
                "lost": result.lost,
                "double": result.double,
            }

        rows += measured(setting, measure, repeats=1)
    first = {row["contestant"]: row["peak"] for row in reversed(rows) if "peak" in row}
    for row in rows:
        if "peak" in row:
            row["growth"] = float(row["peak"]) - float(first[row["contestant"]])
    return Table(
        title="Memory",
        text="With the offline model, which answers at once. Growth is against the first size.",
        columns={
            "records": ("records", ",.0f"),
            "peak": ("peak MB", ".0f"),
            "growth": ("growth, MB", ".0f"),
            "wall": ("seconds", ".1f"),
            "lost": ("lost", ".0f"),
            "double": ("double", ".0f"),
        },
        rows=rows,
    )


def wait_for(running: Running, server: LLMServer, answers: float) -> None:
    """Until so many different questions have been answered. Raises Unavailable when the run ends before."""
    while (stats := server.stats())["paid"] - stats["repeated"] < answers:
        if running.ended:
            raise Unavailable(f"ended before {answers:.0f} answers: {running.last_words()}")
        time.sleep(0.01)
