"""A script of one's own: one aiohttp session, as many workers as calls in flight, retries. The limit for Python."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp
import orjson

ATTEMPTS = 5


def main() -> None:
    job = orjson.loads(Path(sys.argv[1]).read_bytes())
    lines = Path(job["records"]).read_bytes().splitlines()
    with Path(job["answers"]).open("wb") as out:
        asyncio.run(classify(job, iter(lines), out))


async def classify(job: dict[str, Any], waiting: Iterator[bytes], out: BinaryIO) -> None:
    headers = {"Authorization": "Bearer none", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:
        await asyncio.gather(*(worker(session, job, waiting, out) for _ in range(job["in_flight"])))


async def worker(
    session: aiohttp.ClientSession, job: dict[str, Any], waiting: Iterator[bytes], out: BinaryIO
) -> None:
    sentiment = {"type": "string", "enum": job["labels"]}
    for line in waiting:
        record = orjson.loads(line)
        prompt = job["prompt"].replace("{text}", record["text"])
        answer = await ask(session, job, prompt, {"sentiment": sentiment})
        if answer is None:
            continue
        if job["criteria"]:
            question = f"{job['criteria']}\n\nINPUT:\n{prompt}\n\nOUTPUT:\n{answer['sentiment']}"
            verdict = await ask(session, job, question, {"score": {"type": "number"}})
            if verdict is None or verdict["score"] < 0.7:
                continue
        out.write(orjson.dumps({"id": record["id"], "sentiment": answer["sentiment"]}) + b"\n")


async def ask(
    session: aiohttp.ClientSession, job: dict[str, Any], prompt: str, fields: dict[str, Any]
) -> Any:
    schema = {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}
    body = orjson.dumps(
        {
            "model": job["model"],
            "messages": [{"role": "user", "content": prompt}],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": schema, "strict": True},
            },
        }
    )
    for attempt in range(ATTEMPTS):
        async with session.post(f"{job['base_url']}/chat/completions", data=body) as reply:
            if reply.status == 200:
                return orjson.loads(orjson.loads(await reply.read())["choices"][0]["message"]["content"])
        await asyncio.sleep(2**attempt * random.uniform(0.25, 0.5))  # noqa: S311 - jitter
    return None


main()
