"""bespokelabs-curator: its OpenAI backend with the limits set by hand, as its guide for rate limits says."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

from bespokelabs import curator
from pydantic import BaseModel

JOB = json.loads(Path(sys.argv[1]).read_text())
UNLIMITED = 1_000_000_000


class Answer(BaseModel):
    sentiment: Literal["positive", "negative"]


class Classifier(curator.LLM):
    response_format = Answer

    def prompt(self, record: dict[str, Any]) -> str:
        return JOB["prompt"].replace("{text}", record["text"])

    def parse(self, record: dict[str, Any], answer: Answer) -> dict[str, Any]:
        return {"id": record["id"], "sentiment": answer.sentiment}


def main() -> None:
    records = [json.loads(line) for line in Path(JOB["records"]).read_text().splitlines()]
    classifier = Classifier(
        model_name=JOB["model"],
        backend="openai",
        backend_params={
            "base_url": JOB["base_url"],
            "api_key": "none",
            "max_requests_per_minute": UNLIMITED,
            "max_tokens_per_minute": UNLIMITED,
            "max_concurrent_requests": JOB["in_flight"],
            "require_all_responses": False,
        },
    )
    answers = classifier(records, working_dir=str(Path.cwd() / "cache")).dataset
    with Path(JOB["answers"]).open("w") as out:
        out.writelines(json.dumps({"id": row["id"], "sentiment": row["sentiment"]}) + "\n" for row in answers)


main()
