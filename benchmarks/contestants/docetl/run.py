"""docetl: a pipeline with one map operation in structured-output mode, as many threads as calls in flight."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from docetl.runner import DSLRunner


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    rows = [json.loads(line) for line in Path(job["records"]).read_text().splitlines()]
    source, result = Path("rows.json"), Path("result.json")
    source.write_text(json.dumps(rows))
    operation = {
        "name": "classify",
        "type": "map",
        "prompt": job["prompt"].replace("{text}", "{{ input.text }}"),
        "output": {"schema": {"sentiment": f"enum[{', '.join(job['labels'])}]"}, "mode": "structured_output"},
    }
    config = {
        "default_model": f"openai/{job['model']}",
        "default_lm_api_base": job["base_url"],
        "datasets": {"reviews": {"type": "file", "path": str(source)}},
        "operations": [operation],
        "pipeline": {
            "steps": [{"name": "step", "input": "reviews", "operations": ["classify"]}],
            "output": {"type": "file", "path": str(result), "intermediate_dir": "steps"},
        },
    }
    DSLRunner(config, max_threads=job["in_flight"]).load_run_save()
    with Path(job["answers"]).open("w") as out:
        for row in json.loads(result.read_text()):
            if row.get("sentiment") is not None:
                out.write(json.dumps({"id": row["id"], "sentiment": row["sentiment"]}) + "\n")


main()
