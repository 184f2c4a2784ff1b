"""A code location is loaded again and again: it must not bring what only a run needs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

SCRIPT = """
import json, sys
from pathlib import Path
from loom_dagster.assets import build_definitions
found = build_definitions(Path(sys.argv[1])).get_repository_def()
found.load_all_definitions()
made = len(found.sensor_defs), len(found.schedule_defs)
print(json.dumps({"modules": sorted(sys.modules), "made": made}))
"""


FEATURES = """
owners: [team:reviews]
extract: {{source: "data/{name}.csv", key: id{more}}}
transform: {{prompt: prompts/p.txt, context: [context/domain.md], limits: {{in_flight: 4}}, fallbacks: [gpt-4o]}}
evaluate: {{evaluators: [{{name: shape, type: regex, pattern: "."}}], batch_threshold: 0.5}}
load: {{destination: "data/out/{name}/", format: parquet}}
trigger: {trigger}
monitoring:
  cost_budget: 10
  latency_sla: 5.0
  score_degradation: true
  cost_spike: 2x
  rejection_rate: {{max_rate: 0.2, blocking: true}}
  alerts: [{{type: any, channel: stdout}}]
"""


def test_definitions_load_without_what_only_a_run_needs(desk: Any) -> None:
    (desk.root / "context").mkdir()
    (desk.root / "context" / "domain.md").write_text("A shop.\n")
    daily = ", partitions: {every: daily, start: 2026-01-01, column: at}"
    kinds = [(daily, "{on: [new_data, prompt]}"), ("", "{on: prompt}"), (daily, '{cron: "@daily"}')]
    for number in range(50):
        more, trigger = kinds[number % len(kinds)]
        text = FEATURES.format(name=f"p{number}", more=more, trigger=trigger)
        (desk.root / "pipelines" / f"p{number}.yaml").write_text(f"name: p{number}\n{text}")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(desk.root)], capture_output=True, text=True, check=True
    )
    heavy = {
        "aiohttp",
        "arbiter_ai",
        "fsspec",
        "litellm",
        "numpy",
        "pandas",
        "pyarrow",
        "pydantic_ai",
        "sqlalchemy",
    }
    found = json.loads(done.stdout)
    assert found["made"] == [35, 16]  # the sensor of alerts is one, and none is broken
    assert heavy & set(found["modules"]) == set()
