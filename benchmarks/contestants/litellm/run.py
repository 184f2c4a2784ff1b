"""litellm as its documentation shows it: `acompletion` under a semaphore, retries by litellm."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, TextIO

import litellm


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    records = [json.loads(line) for line in Path(job["records"]).read_text().splitlines()]
    with Path(job["answers"]).open("w") as out:
        asyncio.run(classify(job, records, out))


async def classify(job: dict[str, Any], records: list[dict[str, Any]], out: TextIO) -> None:
    slots = asyncio.Semaphore(job["in_flight"])

    async def one(record: dict[str, Any]) -> None:
        async with slots:
            sentiment = await ask(job, record)
        if sentiment is not None:
            out.write(json.dumps({"id": record["id"], "sentiment": sentiment}) + "\n")

    await asyncio.gather(*(one(record) for record in records))


async def ask(job: dict[str, Any], record: dict[str, Any]) -> str | None:
    fields = {"sentiment": {"type": "string", "enum": job["labels"]}}
    schema = {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}
    try:
        reply = await litellm.acompletion(
            model=f"openai/{job['model']}",
            api_base=job["base_url"],
            api_key="none",
            messages=[{"role": "user", "content": job["prompt"].replace("{text}", record["text"])}],
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": schema, "strict": True},
            },
            num_retries=4,
        )
        return str(json.loads(reply.choices[0].message.content)["sentiment"])
    except Exception as error:  # noqa: BLE001 - a lost record is what is counted
        print(record["id"], repr(error)[:200], file=sys.stderr)
        return None


main()
