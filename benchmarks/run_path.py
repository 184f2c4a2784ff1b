"""How close a run comes to the limit: span against the ideal, and CPU a record.

    python benchmarks/run_path.py [--records 5000] [--latency 0.2] [--in-flight 256]

A local OpenAI-compatible server in a process of its own answers after ``latency``; a project in a
temporary folder is run with `loom run --direct`, with the answer store, one deterministic
evaluator, snapshot, ledger and load. The ideal span is records x latency / in flight. CPU is that
of the whole `loom` process, start-up and load included, and again without what a run of one record costs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.servers.llm import LLMServer

PIPELINE = """
name: speed
extract: {{source: reviews.parquet, key: id}}
transform:
  prompt: prompts/p.txt
  model: openai/any
  api_base: {base}
  limits: {{in_flight: {in_flight}}}
evaluate:
  evaluators: [{{type: contains, field: sentiment, substrings: [positive]}}]
load:
  destination: out.parquet
  schema: {{sentiment: {{type: string, enum: [positive, negative]}}}}
"""


def project(root: Path, records: int, base: str, in_flight: int) -> None:
    for name, text in {
        "pyproject.toml": "[tool.loom]\n",
        "prompts/p.txt": "Classify: {{ input.text }}",
        "pipelines/speed.yaml": PIPELINE.format(base=base, in_flight=in_flight),
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    ids = [str(i) for i in range(records)]
    pq.write_table(pa.table({"id": ids, "text": [f"review number {i}" for i in ids]}), root / "reviews.parquet")


def run(root: Path) -> tuple[float, float, dict[str, object]]:
    """CPU seconds, wall seconds and the outcome of one `loom run`."""
    environ = {**os.environ, "OPENAI_API_KEY": "none"}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "loom_dagster.cli.main", "run", "speed", "--direct", "--json", "--project", str(root)],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode:
        raise SystemExit(done.stderr or done.stdout)
    return cpu, wall, json.loads(done.stdout)["runs"][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=5000)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--in-flight", type=int, default=256)
    wanted = parser.parse_args()
    # the server's CPU is none of ours: it has a process of its own that is not waited for in between
    with LLMServer(process=True, latency=wanted.latency, text='{"sentiment": "positive"}') as server:
        with tempfile.TemporaryDirectory() as folder:
            project(Path(folder), 1, server.base_url, wanted.in_flight)
            start, _, _ = run(Path(folder))
        with tempfile.TemporaryDirectory() as folder:
            project(Path(folder), wanted.records, server.base_url, wanted.in_flight)
            cpu, wall, outcome = run(Path(folder))
            again_cpu, again_wall, again = run(Path(folder))
    ideal = wanted.records * wanted.latency / wanted.in_flight
    span = float(outcome["seconds"]["records"])  # type: ignore[index]
    print(f"records {wanted.records}, latency {wanted.latency} s, {wanted.in_flight} in flight")
    print(f"span            {span:.2f} s = {span / ideal:.2f} x ideal ({ideal:.2f} s)")
    print(f"CPU a record    {(cpu - start) / wanted.records * 1000:.2f} ms ({cpu / wanted.records * 1000:.2f} ms with start-up, {start:.2f} s)")
    print(f"wall            {wall:.2f} s; again, from the store: {again_wall:.2f} s, {again_cpu:.2f} s CPU")
    print(f"reused          {again['spending']['reused']} of {wanted.records}")  # type: ignore[index]


if __name__ == "__main__":
    main()
