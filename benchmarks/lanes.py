"""CPU that one call costs on each way to a provider, against a server without latency in a process of its own.

    python benchmarks/lanes.py [--calls 3000] [--in-flight 64] [--repeat 3]

Each way runs in a process of its own, over the same provider format where that is possible: OpenAI's for the
wire, Anthropic's for litellm's configuration and for litellm as a whole. CPU is that of the calling process
(``time.process_time``), after a warm-up of 100 calls, without the answer store. Prints one line a way.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import orjson

sys.path.insert(0, str(Path(__file__).parents[1]))

from loom_dagster.gateway import AnswerSchema, Model, Origin, PriceBook, Question, Timeouts
from loom_dagster.gateway.connection import make_session
from loom_dagster.gateway.lane import Closes
from loom_dagster.gateway.lanes import lane_for
from loom_dagster.gateway.litellm_lane import LiteLLM
from tests.servers.providers import ProviderServer, Said

WAYS = {
    "OpenAI wire": ("openai/gpt-4o-mini", "openai", "/v1", False),
    "configuration, Anthropic": ("anthropic/claude-sonnet-4-5", "anthropic", "", False),
    "configuration, Gemini": ("gemini/gemini-2.5-flash", "gemini", "", False),
    "configuration, Ollama": ("ollama_chat/llama3", "ollama", "", False),
    "litellm, OpenAI": ("openai/gpt-4o-mini", "openai", "/v1", True),
    "litellm, Anthropic": ("anthropic/claude-sonnet-4-5", "anthropic", "", True),
}
SCHEMA = AnswerSchema(
    name="output",
    body={
        "type": "object",
        "properties": {"sentiment": {"type": "string", "enum": ["positive", "negative"]}},
        "required": ["sentiment"],
        "additionalProperties": False,
    },
)
_WARM_UP = 100


async def measure(way: str, base: str, calls: int, in_flight: int) -> dict[str, float]:
    """CPU ms and wall ms a call."""
    name, _, path, whole = WAYS[way]
    model = Model(name=name, api_base=base + path, api_key_env="KEY", timeouts=Timeouts())
    async with make_session() as session:
        lane: Any = lane_for(model, PriceBook.load(), {"KEY": "x"}, lambda: session)
        if whole:
            lane = LiteLLM(model, key="x", key_env="KEY", structured=True)

        async def ask_each(numbers: Iterator[int]) -> None:
            for number in numbers:
                text = f"The {number}th review: it was good, and I would buy it again. " * 5
                messages = [
                    {"role": "system", "content": "Classify the review as positive or negative."},
                    {"role": "user", "content": text},
                ]
                origin = Origin(pipeline="bench", record_id=str(number), purpose="transform")
                await lane.send(
                    Question(model=model, messages=messages, origin=origin, schema=SCHEMA), messages
                )

        async def ask(numbers: range) -> None:
            shared = iter(numbers)
            await asyncio.gather(*(ask_each(shared) for _ in range(in_flight)))

        await ask_each(iter([0]))
        await ask(range(_WARM_UP))
        begun, cpu = time.perf_counter(), time.process_time()
        await ask(range(_WARM_UP, _WARM_UP + calls))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - begun
        if isinstance(lane, Closes):
            await lane.close()
    return {"cpu": cpu * 1000 / calls, "wall": wall * 1000 / calls}


def serve(form: str) -> None:
    """A server that says one thing until its stdin closes."""
    with ProviderServer(record=False) as server:
        server.says(form, Said(text='{"sentiment": "positive"}'))
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        sys.stdin.read()


def run(way: str, calls: int, in_flight: int) -> dict[str, float]:
    """One way, with server and client in processes of their own."""
    python = [sys.executable, "-W", "ignore", __file__]
    server = subprocess.Popen(
        [*python, "--serve", WAYS[way][1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    stdin, stdout = cast("IO[str]", server.stdin), cast("IO[str]", server.stdout)
    try:
        base = stdout.readline().strip()
        options = ["--measure", way, "--base", base, "--calls", str(calls), "--in-flight", str(in_flight)]
        done = subprocess.run([*python, *options], check=True, capture_output=True, text=True)
        measured: dict[str, float] = orjson.loads(done.stdout.splitlines()[-1])
        return measured
    finally:
        stdin.close()
        server.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=3)
    for name in ("--serve", "--measure", "--base"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve)
    elif given.measure:
        measured = asyncio.run(measure(given.measure, given.base, given.calls, given.in_flight))
        sys.stdout.write(orjson.dumps(measured).decode() + "\n")
    else:
        sys.stdout.write(f"{'way':<28} CPU ms a call  wall ms a call\n")
        for way in WAYS:
            runs = [run(way, given.calls, given.in_flight) for _ in range(given.repeat)]
            cpu, wall = (statistics.median(r[what] for r in runs) for what in ("cpu", "wall"))
            sys.stdout.write(f"{way:<28} {cpu:13.2f}  {wall:14.2f}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
