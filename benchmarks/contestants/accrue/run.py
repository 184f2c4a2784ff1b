"""accrue: one LLMStep over all rows; its production settings, with as many workers as calls in flight."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from accrue import EnrichmentConfig, LLMStep, Pipeline


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    rows = [json.loads(line) for line in Path(job["records"]).read_text().splitlines()]
    task = job["prompt"].replace("{text}", "the text of the row")
    step = LLMStep(
        "classify",
        fields={"sentiment": {"prompt": task, "enum": job["labels"]}},
        model=job["model"],
        base_url=job["base_url"],
        api_key="none",
        structured_outputs=True,
    )
    config = replace(
        EnrichmentConfig.for_production(), max_workers=job["in_flight"], enable_progress_bar=False
    )
    result = Pipeline([step]).run(rows, config)
    with Path(job["answers"]).open("w") as out:
        for row in result.data:
            if row.get("sentiment") is not None:
                out.write(json.dumps({"id": row["id"], "sentiment": row["sentiment"]}) + "\n")


main()
