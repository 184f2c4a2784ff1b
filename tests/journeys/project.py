"""Whole projects in a temporary folder, used as their users use them: files and the `loom` command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tests.servers.warm import warm

PROMPT = "Classify the review as positive or negative.\n\nReview {{ input.id }}: {{ input.text }}"
SCHEMA = {"sentiment": {"type": "string", "enum": ["positive", "negative"]}}


@dataclass
class Run:
    """What one `loom` command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def outcome(self) -> dict[str, Any]:
        """The outcome of the one pipeline that was run with --json."""
        return self.json["runs"][0]


class Project:
    """A loom project on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ: dict[str, str] = {}
        self.write("pyproject.toml", '[tool.loom]\nmodel = "offline/demo"\n')
        self.write("prompts/classify.txt", PROMPT)

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, bytes):
            path.write_bytes(text)
        else:
            path.write_text(text, encoding="utf-8")
        return path

    def reviews(self, texts: Mapping[str, str], name: str = "data/reviews.parquet") -> None:
        """A source of ``{id: text}``."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"id": list(texts), "text": list(texts.values())}), path)

    def pipeline(self, name: str = "classify", **blocks: Any) -> None:
        """A pipeline that classifies reviews; ``blocks`` are merged over its defaults."""
        spec: dict[str, Any] = {
            "name": name,
            "extract": {"source": "data/reviews.parquet", "key": "id"},
            "transform": {"prompt": "prompts/classify.txt"},
            "load": {"destination": f"out/{name}.parquet", "schema": SCHEMA},
        }
        for block, values in blocks.items():
            known = spec.get(block)
            spec[block] = (
                {**known, **values} if isinstance(known, dict) and isinstance(values, dict) else values
            )
        self.write(f"pipelines/{name}.yaml", yaml.safe_dump(spec, sort_keys=False, allow_unicode=True))

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "loom_dagster.cli.main", *args, "--project", str(self.root)]

    @property
    def env(self) -> dict[str, str]:
        kept = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("LOOM_", "DAGSTER_", "OPENAI_")) and k != "CI"
        }
        return {**kept, **self.environ}

    def loom(self, *args: str, timeout: float = 300) -> Run:
        env, command = self.env, self.command(*args)
        if warm().fits(env):
            code, out, err = warm().run(command[3:], env=env, cwd=self.root, timeout=timeout)
        else:
            done = subprocess.run(
                command, env=env, cwd=self.root, capture_output=True, text=True, timeout=timeout
            )
            code, out, err = done.returncode, done.stdout, done.stderr
        assert "Traceback" not in err + out, err + out
        return Run(code, out, err)

    def run(self, name: str = "classify", *args: str, timeout: float = 300) -> Run:
        return self.loom("run", name, "--direct", "--json", *args, timeout=timeout)

    def table(self, name: str = "out/classify.parquet") -> list[dict[str, Any]]:
        return pq.read_table(self.root / name).to_pylist()


def ids(path: str | Path, column: str) -> list[str]:
    """One column of a snapshot's table."""
    return pq.read_table(path, columns=[column]).column(0).to_pylist()
