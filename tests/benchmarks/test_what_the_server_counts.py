"""The counters of the model server that benchmarks are made of."""

from __future__ import annotations

import contextlib
import http.client
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import orjson

from tests.servers.llm import LLMServer


def ask(server: LLMServer, text: str) -> int:
    body = orjson.dumps({"messages": [{"role": "user", "content": text}]})
    try:
        with urllib.request.urlopen(f"{server.base_url}/chat/completions", data=body, timeout=10) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_first_request_last_answer_and_what_was_paid_again() -> None:
    with LLMServer(process=True, find=r"Review \d+", labels={"Review 1": "good"}) as server:
        ask(server, "can you do this?")
        assert server.stats()["first_request"] is None  # it asks about no record
        for _ in range(2):
            ask(server, "Review 1")
        stats = server.stats()
        [delivered] = server.repeats()
        assert stats["first_request"] < delivered < stats["last_answer"]
        assert (stats["paid"], stats["repeated"]) == (3, 1)
        server.change(reset=True)
        ask(server, "Review 1")
        again = server.stats()
    assert (again["paid"], again["repeated"]) == (1, 1)  # what was paid before is remembered
    assert again["first_request"] > stats["last_answer"]


def test_what_the_cap_refuses_is_refused_at_once_and_takes_no_place() -> None:
    def held(i: int) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            ask(server, f"held {i}")  # until the server ends

    with ThreadPoolExecutor(2) as pool, LLMServer(cap=2, latency=3600) as server:
        pool.map(held, range(2))
        while server.stats()["in_flight"] < 2:
            pass
        assert [ask(server, f"too many {i}") for i in range(3)] == [429, 429, 429]
        stats = server.stats()
        assert (stats["in_flight"], stats["max_in_flight"], stats["refused"], stats["requests"]) == (
            2,
            2,
            3,
            5,
        )
        assert 0 < stats["busy_seconds"] < server.stats()["busy_seconds"]
