"""A pipeline that is run on a cluster, the model server that answers it, and the books of both."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.journeys.project import Project, ids
from tests.servers.llm import LLMServer
from tests.servers.ray_cluster import RayCluster

__all__ = ["JUDGE", "PRICE", "Job", "same_tables", "serve", "sold", "texts_of"]

PRICE = {"input": 10.0, "output": 40.0}
"""USD per million tokens."""
JUDGE = '''
import ctypes
import os


def judge(output, record):
    """Some texts do to their process what a broken library would."""
    if "exits" in record["text"]:
        os._exit(3)
    if "segfaults" in record["text"]:
        ctypes.string_at(0)
    return output["sentiment"] in ("positive", "negative")
'''
_OF_A_RUN = {"_loom_run_id", "_loom_latency_s", "run_id"}
"""Columns that differ between two runs of the same pipeline."""
_PATIENCE = 300.0


def texts_of(records: int) -> dict[str, str]:
    """A review for each id."""
    return {f"r{i}": f"review number {i}" for i in range(records)}


def serve(texts: Mapping[str, str], **options: Any) -> LLMServer:
    """A model that answers each text as it is labelled, in a process of its own, which asks for a key."""
    labels = {text: "positive" if i % 2 else "negative" for i, text in enumerate(texts.values())}
    return LLMServer(
        process=True,
        labels=labels,
        find=r"Review \w+: (.*)",
        field="sentiment",
        key="sk-of-the-test",
        **options,
    )


def sold(stats: Mapping[str, Any]) -> float:
    """USD, as the provider counts."""
    return float(stats["input_tokens"] * PRICE["input"] + stats["output_tokens"] * PRICE["output"]) / 1e6


class Job:
    """One pipeline of a project of its own. Without a cluster it runs in one process."""

    def __init__(
        self,
        root: Path,
        server: LLMServer,
        texts: Mapping[str, str],
        cluster: RayCluster | None = None,
        *,
        workers: int = 2,
        in_flight: int = 16,
        judged: bool = False,
        transform: Mapping[str, Any] | None = None,
        **blocks: Any,
    ) -> None:
        self.project, self.server, self.texts, self.cluster = Project(root), server, texts, cluster
        self.in_flight, self._workers = in_flight, workers
        self._judged, self._transform, self._blocks = judged, dict(transform or {}), blocks
        self._address = cluster.address if cluster else "auto"
        self.project.reviews(texts)
        self.project.write("judging.py", JUDGE)
        self.project.environ = {
            "OPENAI_API_KEY": "sk-of-the-test",
            "LOOM_OUTAGE_PATIENCE": "300",  # a machine that is busy with other things is no outage
            **(cluster.environ if cluster else {}),
        }
        self.on("ray" if cluster else "local")

    def to(self, address: str) -> None:
        """Write the pipeline for this cluster."""
        self._address = address
        self.on("ray")

    def on(self, engine: str) -> None:
        """Write the pipeline for this engine."""
        judges = [{"name": "sane", "type": "python", "function": "judging:judge"}] if self._judged else []
        execution = {"engine": engine, "address": self._address, "workers": self._workers}
        self.project.pipeline(
            transform={
                "prompt": "prompts/classify.txt",
                "model": "openai/any",
                "api_base": self.server.base_url,
                "limits": {"in_flight": self.in_flight},
                "price": PRICE,
                "max_tokens": 50,
                **self._transform,
            },
            evaluate={"evaluators": judges},
            execution=execution,
            **self._blocks,
        )

    def run(self, timeout: float = _PATIENCE) -> dict[str, Any]:
        """The outcome of a run that has to end well."""
        done = self.project.run(timeout=timeout)
        assert done.code == 0, done.out + done.err
        return done.outcome

    def start(self, *args: str) -> subprocess.Popen[str]:
        """A run that may be killed."""
        return subprocess.Popen(
            self.project.command("run", "classify", "--direct", "--json", *args),
            env=self.project.env,
            cwd=self.project.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def until_paid(self, answers: float, child: subprocess.Popen[str]) -> None:
        """Wait until the provider has sold so many; the run has to live for as long."""
        self.until(lambda: self.server.stats()["paid"] >= answers, child)

    def until(self, holds: Callable[[], bool], child: subprocess.Popen[str]) -> None:
        end = time.monotonic() + _PATIENCE
        while not holds():
            assert child.poll() is None, f"the run ended ({child.returncode}): {child.communicate()[0]}"
            assert time.monotonic() < end, "nothing happens any more"
            time.sleep(0.02)

    def ended(self, child: subprocess.Popen[str], code: int | None = 0) -> dict[str, Any]:
        """The outcome of a run that was started, once it is over."""
        said, _ = child.communicate(timeout=_PATIENCE)
        assert "Traceback" not in said, said
        assert code is None or child.returncode == code, said
        return json.loads(said[said.index("{") :])["runs"][0]  # type: ignore[no-any-return]

    def stored(self) -> int:
        """Answers that are kept."""
        path = self.project.root / ".loom" / "answers.sqlite"
        if not path.exists():
            return 0
        with sqlite3.connect(path) as connection:
            return int(connection.execute("select count(*) from answers").fetchone()[0])

    def broken_promises(self, outcome: Mapping[str, Any], *, kills: int = 0) -> list[str]:
        """What of the promises does not hold after this run; ``kills`` before its end may each have cost what was in
        flight."""
        broken: list[str] = []
        passed = ids(outcome["transformed_path"], "_loom_record_id")
        kept = ids(outcome["quarantine_path"], "record_id")
        wrong = Counter(passed) + Counter(kept)
        wrong.subtract(list(self.texts))
        if wrong := Counter({k: v for k, v in wrong.items() if v}):
            broken.append(f"not each record once: {wrong.most_common(5)}")
        counts = outcome["counts"]
        if counts["extracted"] != counts["passed"] + counts["quarantined"] + counts["deferred"]:
            broken.append(f"the counts do not add up: {counts}")
        if (counts["passed"], counts["quarantined"]) != (len(passed), len(kept)):
            broken.append(f"counts and tables differ: {counts}, {len(passed)} and {len(kept)}")
        loaded = [row["id"] for row in self.project.table()]
        good = set(passed)
        if loaded != [i for i in self.texts if i in good]:
            broken.append(
                f"loaded {len(loaded)} ({len(set(loaded))} ids), not what passed in the source's order"
            )
        false = [
            r["id"]
            for r in self.project.table()
            if r["sentiment"] != ("positive" if int(r["id"][1:]) % 2 else "negative")
        ]
        if false:
            broken.append(f"wrong answers: {false[:5]}")
        stats = self.server.stats()
        # in flight, or on the way from a worker to the store, while the next one is asked already
        unsettled = kills * self.in_flight
        if stats["repeated"] > unsettled:
            broken.append(f"{stats['repeated']} answers paid again at {kills} kills, of at most {unsettled}")
        return broken


def same_tables(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """How the tables of two runs of one pipeline differ, row by row and byte by byte."""
    differences = []
    for name in ("transformed_path", "quarantine_path"):
        left, right = (_plain(pq.read_table(each[name])) for each in (one, other))
        if left.equals(right, check_metadata=True):
            continue
        if left.schema != right.schema or len(left) != len(right):
            differences.append(f"{name}: {len(left)} rows of {left.schema}, {len(right)} of {right.schema}")
            continue
        columns = [c for c in left.column_names if not left[c].equals(right[c])]
        differences.append(f"{name}: {columns} differ")
    return differences


def _plain(table: pa.Table) -> pa.Table:
    return table.drop_columns([c for c in table.column_names if c in _OF_A_RUN]).combine_chunks()
