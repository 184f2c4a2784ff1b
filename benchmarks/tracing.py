"""How long it takes to tell the story of one record of a large run.

    python -m benchmarks.tracing FOLDER [--records 1000000] [--ids 1000]

Makes a project in FOLDER and runs it with the offline model, unless it is there already; then traces random records, half of
them in quarantine. CPU time is what counts on a machine that does other work as well.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from loom_dagster.assembly import Loom
from loom_dagster.assembly.tracing import trace

_PIPELINE = """\
name: traced
extract: {source: data/reviews.parquet, key: id}
transform: {prompt: prompts/classify.txt}
evaluate: {evaluators: [{name: agrees, type: exact_match, field: sentiment, reference_field: label}]}
load: {destination: out/traced.parquet, schema: {sentiment: {type: string, enum: [positive, negative]}}}
"""
_WORDS = [
    "the",
    "product",
    "works",
    "as",
    "described",
    "and",
    "came",
    "in",
    "time",
    "but",
    "its",
    "box",
    "was",
    "damaged",
    "so",
    "I",
    "am",
    "not",
    "sure",
    "of",
    "it",
]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("folder", type=Path)
    asked.add_argument("--records", type=int, default=1_000_000)
    asked.add_argument("--ids", type=int, default=1_000)
    given = asked.parse_args()
    if not (given.folder / "pipelines").exists():
        _make(given.folder, given.records)
        Loom.open(given.folder).run("traced")
    loom = Loom.open(given.folder)
    snapshot = loom.releases.latest("traced")
    if snapshot is None:
        raise SystemExit("the run left no snapshot")
    for what, path, column in (
        ("passed", snapshot.transformed, "_loom_record_id"),
        ("quarantined", snapshot.quarantine, "record_id"),
    ):
        ids = pq.read_table(path, columns=[column]).column(0).to_pylist()
        print(f"{what}: {len(ids):,} records, index {path.with_suffix('.idx').stat().st_size / 1e6:.1f} MB")
        _measure(lambda i: trace(loom, "traced", i), random.sample(ids, min(given.ids, len(ids))))


def _measure(tell: Callable[[str], object], ids: list[str]) -> None:
    tell(ids[0])  # what is imported and compiled once
    walls, cpus = [], []
    for record_id in ids:
        wall, cpu = time.perf_counter(), time.process_time()
        tell(record_id)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    for name, taken in (("CPU", sorted(cpus)), ("wall", sorted(walls))):
        p99 = taken[int(len(taken) * 0.99)]
        print(
            f"  {name} ms: p50 {taken[len(taken) // 2] * 1e3:.1f}, p99 {p99 * 1e3:.1f}, max {taken[-1] * 1e3:.1f}"
        )


def _make(root: Path, records: int) -> None:
    chosen = random.Random(1)  # noqa: S311 - data to measure with
    for folder in ("pipelines", "prompts", "data"):
        (root / folder).mkdir(parents=True)
    (root / "pyproject.toml").write_text('[tool.loom]\nmodel = "offline/demo"\n', encoding="utf-8")
    (root / "pipelines" / "traced.yaml").write_text(_PIPELINE, encoding="utf-8")
    prompt = "Classify the review as positive or negative.\n\nReview {{ input.id }}: {{ input.text }}\n"
    (root / "prompts" / "classify.txt").write_text(prompt, encoding="utf-8")
    table = pa.table(
        {
            "id": [f"review-{i:07d}" for i in range(records)],
            "text": [" ".join(chosen.choices(_WORDS, k=14)) for _ in range(records)],
            "label": [chosen.choice(["positive", "negative"]) for _ in range(records)],
        }
    )
    pq.write_table(table, root / "data" / "reviews.parquet")


if __name__ == "__main__":
    main()
