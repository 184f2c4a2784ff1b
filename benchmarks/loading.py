"""How long a code location of 200 pipelines loads: ours, and the same assets, partitions, checks, jobs
and sensors written by hand.

`python -m benchmarks.loading` measures each side in processes of its own, several times in turn, and prints
medians. What is measured is the CPU time from the import of the code location to a repository whose jobs are all resolved;
Dagster itself is imported before.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["main", "write_project"]

ROOT = Path(__file__).resolve().parent.parent
PIPELINE = """\
name: pipeline_{n:03}
version: 1.0.0
description: Classify what came in from place {n}
tags: {{tier: silver}}
owners: [team:reviews]
extract:
  source: data/in_{n}.csv
  key: id
  partitions: {{every: daily, start: 2026-01-01, column: at}}
trigger: {{on: [new_data, prompt], every: 60s}}
monitoring:
  rejection_rate: 0.2
  alerts: [{{type: any, channel: stdout}}]
transform:
  prompt: prompts/classify_{m}.txt
  model: gpt-4o-mini
  temperature: 0.0
  context: [context/domain.md]
evaluate:
  evaluators:
    - {{name: agrees, type: exact_match, field: sentiment, reference_field: expected}}
    - {{name: says_why, type: regex, field: reasoning, pattern: '\\w+'}}
  quality_gate: all_pass
  batch_threshold: 0.9
load:
  destination: data/out_{n}/
  format: parquet
  on_failure: quarantine
  schema:
    sentiment: {{type: string, enum: [positive, negative, neutral]}}
    confidence: float
    reasoning: string
"""
PROMPT = (
    "---\nversion: v1.0.0\n---\n{{{{ context.domain }}}}\nClassify for place {n}: {{{{ input.review }}}}\n"
)
OURS = """
import sys, time
from pathlib import Path
import dagster
start = time.process_time()
from loom_dagster.assets import build_definitions
defs = build_definitions(Path(sys.argv[1]))
repository = defs.get_repository_def()
repository.load_all_definitions()
print(time.process_time() - start)
"""
BY_HAND = """
import sys, time
import dagster
start = time.process_time()
from benchmarks.by_hand import build
defs = build(int(sys.argv[2]))
repository = defs.get_repository_def()
repository.load_all_definitions()
print(time.process_time() - start)
"""


def write_project(folder: Path, pipelines: int) -> None:
    """A project of so many pipelines; five prompts and one context are shared among them."""
    files = {"pyproject.toml": "[tool.loom]\n", "context/domain.md": "Reviews of a shop.\n"}
    for n in range(5):
        files[f"prompts/classify_{n}.txt"] = PROMPT.format(n=n)
    for n in range(pipelines):
        files[f"pipelines/p{n:03}.yaml"] = PIPELINE.format(n=n, m=n % 5)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pipelines", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args(argv)
    seconds: dict[str, list[float]] = {"loom": [], "by hand": []}
    with tempfile.TemporaryDirectory() as folder:
        write_project(Path(folder), asked.pipelines)
        for _ in range(asked.repeats):
            for side, script in (("loom", OURS), ("by hand", BY_HAND)):
                seconds[side].append(_load(script, folder, asked.pipelines))
    median = {side: statistics.median(times) for side, times in seconds.items()}
    ratio = median["loom"] / median["by hand"]
    print(json.dumps({"pipelines": asked.pipelines, "seconds": seconds, "median": median, "ratio": ratio}))
    return 0


def _load(script: str, folder: str, pipelines: int) -> float:
    done = subprocess.run(
        [sys.executable, "-c", script, folder, str(pipelines)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
