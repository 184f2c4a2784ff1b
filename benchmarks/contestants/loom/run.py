"""Ours: a project with one pipeline, run by `loom run`; the variant says how (``direct``, the default, ``dagster``,
or ``ray``: direct, with the cluster named in ``pipeline``).

The answer store, the gate with one evaluator, snapshot, ledger and load are on, as they are for everybody.
What a scenario puts into ``pipeline`` is merged into the YAML.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
CHECK = {"type": "regex", "field": "sentiment", "pattern": "^(positive|negative)$"}


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    write_project(Path.cwd(), job)
    way = {"dagster": [], "direct": ["--direct"], "ray": ["--direct"]}[job["variant"] or "direct"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "loom_dagster.cli.main", "run", "benchmark", "--json", *way]
    os.execve(sys.executable, command, environ)  # noqa: S606 - the process that is measured is loom's own


def write_project(root: Path, job: dict[str, Any]) -> None:
    spec: dict[str, Any] = {
        "name": "benchmark",
        "extract": {"source": job["records"], "key": "id"},
        "transform": {
            "prompt": "prompts/benchmark.txt",
            "model": f"openai/{job['model']}",
            "api_base": job["base_url"],
            "limits": {"in_flight": job["in_flight"]},
        },
        "evaluate": {"evaluators": [CHECK]},
        "load": {
            "destination": job["answers"],
            "schema": {"sentiment": {"type": "string", "enum": job["labels"]}},
        },
    }
    if job["criteria"]:
        judge = {"name": "judge", "type": "custom_criteria", "criteria": job["criteria"], "threshold": 0.7}
        spec["evaluate"]["evaluators"].append(judge)
    for block, settings in job["pipeline"].items():
        spec[block] = {**spec.get(block, {}), **settings}
    write(root / "pyproject.toml", "[tool.loom]\n")
    write(root / "prompts" / "benchmark.txt", job["prompt"].replace("{text}", "{{ input.text }}"))
    write(root / "pipelines" / "benchmark.yaml", json.dumps(spec, indent=1))  # JSON is YAML


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


main()
