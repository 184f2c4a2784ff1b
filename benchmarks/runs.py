"""One run of one contestant: its job, its process, and what came out, held against what the server knows."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.environments import CONTESTANTS, Unavailable, interpreter
from tests.servers.llm import LLMServer

__all__ = ["CRITERIA", "Job", "Result", "Running", "check", "labels", "serve", "write_records"]

LABELS = ["negative", "positive"]
MODEL = "gpt-4o-mini"
FIND = r"Review \d+"
PROMPT = (
    "You label reviews of a shop for household goods. Answer with the sentiment of the review, which is one of "
    "positive and negative. Irony is negative; praise for the delivery alone is positive.\n\n{text}"
)
CRITERIA = "The sentiment is what a careful reader would say, and nothing is made up."
MEASURED = Path(__file__).parent / "measured.py"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a contestant is told. ``pipeline`` is for ours alone: blocks of YAML that a scenario needs."""

    records: Path
    base_url: str
    in_flight: int
    criteria: str = ""
    pipeline: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Result:
    """Seconds, megabytes; ``started`` by time.monotonic(). ``stats`` are the server's."""

    exit_code: int
    started: float
    wall: float
    cpu: float
    peak_mb: float
    lost: int
    double: int
    wrong: int
    stats: dict[str, Any]
    folder: Path

    @property
    def span(self) -> float:
        """From the first request to the last answer, as the server saw them."""
        return float(self.stats["last_answer"] - self.stats["first_request"])


def labels(records: int) -> dict[str, str]:
    """What the server answers, by what FIND finds in a prompt; drawn, and always the same."""
    draw = random.Random(records)  # noqa: S311 - no secret
    return {f"Review {i}": draw.choice(LABELS) for i in range(records)}


def write_records(path: Path, records: int) -> Path:
    with path.open("w") as out:
        for i in range(records):
            text = f"Review {i}: the kettle came on a Tuesday, boils in about three minutes, and the lid is easy to clean."
            out.write(json.dumps({"id": f"r{i}", "text": text}) + "\n")
    return path


@contextlib.contextmanager
def serve(records: int, **options: Any) -> Iterator[LLMServer]:
    """The model server in a process of its own, so that its CPU counts for nobody."""
    known = {"labels": labels(records), "find": FIND, "field": "sentiment"}
    with LLMServer(process=True, max_seconds=7200, **{**known, **options}) as server:
        yield server


class Running:
    """A contestant at work in ``folder``, by ``here`` with this interpreter instead of one of its own.

    In a folder that was used before it finds what it kept there: a rerun.
    """

    def __init__(self, contestant: str, job: Job, folder: Path, *, here: bool = False) -> None:
        name, _, variant = contestant.partition(":")
        script = CONTESTANTS / name / "run.py"
        if not script.exists():
            raise Unavailable(
                f"no such contestant; there are {', '.join(sorted(p.name for p in CONTESTANTS.iterdir()))}"
            )
        python = sys.executable if here else interpreter(name)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.job, self.answers = folder, job, folder / "answers.jsonl"
        told = {
            **vars(job),
            "records": str(job.records),
            "answers": str(self.answers),
            "variant": variant,
            "labels": LABELS,
            "model": MODEL,
            "prompt": PROMPT,
        }
        (folder / "job.json").write_text(json.dumps(told))
        self._child = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                str(MEASURED),
                str(folder),
                python,
                str(script),
                str(folder / "job.json"),
            ],
            env=environ(folder, Path(python)),
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def ended(self) -> bool:
        return self._child.poll() is not None

    def stop(self) -> float:
        """Freeze it; the time at which that was done."""
        os.killpg(self._child.pid, signal.SIGSTOP)
        return time.monotonic()

    def kill(self) -> None:
        """It, and whatever it started."""
        os.killpg(self._child.pid, signal.SIGKILL)
        self._child.communicate()

    def wait(
        self, server: LLMServer | None = None, *, may_fail: bool = False, timeout: float = 1800.0
    ) -> Result:
        """What it took and what came out. Raises Unavailable when it takes more than ``timeout`` seconds,
        or fails and nobody expected it to."""
        try:
            said, _ = self._child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Unavailable(f"did not end within {timeout:.0f} s") from None
        took = json.loads(said)
        if took["exit_code"] and not may_fail:
            raise Unavailable(f"failed with exit code {took['exit_code']}: {self.last_words()}")
        return Result(
            **took,
            **check(self.job.records, self.answers),
            stats=server.stats() if server else {},
            folder=self.folder,
        )

    def last_words(self) -> str:
        """The last line it wrote, or the message of its error document."""
        with contextlib.suppress(ValueError, LookupError, TypeError):
            return str(json.loads((self.folder / "stdout").read_text())["error"]["message"])
        said = "".join((self.folder / name).read_text(errors="replace") for name in ("stdout", "stderr"))
        return " ".join(said.strip().splitlines()[-1:])[:300].strip()


def check(records: Path, answers: Path) -> dict[str, int]:
    """The rows that are missing, there more than once, or other than what the server says."""
    with records.open("rb") as lines:
        wanted = sum(1 for _ in lines)
    known, seen, wrong = labels(wanted), Counter[str](), 0
    if answers.exists():
        with answers.open("rb") as rows:
            for row in map(json.loads, rows):
                seen[row["id"]] += 1
                wrong += row["sentiment"] != known.get(f"Review {row['id'][1:]}")
    return {"lost": wanted - len(seen), "double": seen.total() - len(seen), "wrong": wrong}


def environ(folder: Path, python: Path) -> dict[str, str]:
    """The environment of a contestant: no settings of this shell, caches in its own folder, and nothing to
    download in the middle of a measurement: prices and token encodings are those that its litellm ships."""
    encodings = [*python.parents[1].glob("lib/python*/site-packages/litellm/litellm_core_utils/tokenizers")]
    dropped = ("LOOM_", "DAGSTER_", "OPENAI_", "PYTHON", "LITELLM_", "CURATOR_", "DOCETL_", "XDG_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped) and k != "CI"}
    return {
        **kept,
        "HOME": str(folder),
        "OPENAI_API_KEY": "none",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "TELEMETRY_ENABLED": "false",
        **({"TIKTOKEN_CACHE_DIR": str(encodings[0])} if encodings else {}),
    }
