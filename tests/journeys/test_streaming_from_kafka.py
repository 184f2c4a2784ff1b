"""`loom stream` on a Kafka topic, over the wire: librdkafka's cluster runs in the tests' process."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter

import pytest

from tests.journeys.project import SCHEMA, Project
from tests.servers.kafka import Kafka
from tests.servers.llm import LLMServer

pytestmark = pytest.mark.service
N = 200


@pytest.mark.slow
def test_messages_of_a_topic_arrive_exactly_once_though_the_consumer_is_killed(project: Project) -> None:
    kafka = Kafka()
    project.environ = {
        "LOOM_CONNECTION_EVENTS": f"{kafka.url}?session.timeout.ms=4000",
        "OPENAI_API_KEY": "k",
    }
    for n in range(N):
        value = json.dumps({"id": f"r{n}", "text": f"review number {n}"}).encode()
        kafka.send("reviews", value, partition=n % 2)
    kafka.send("reviews", b"{broken", None)
    labels = {f"review number {n}": "positive" for n in range(N)}
    with LLMServer(
        process=True, latency=0.05, labels=labels, find=r"Review \S+: (.*)", field="sentiment"
    ) as model:
        project.pipeline(
            extract={"source": "kafka://events/reviews", "key": [], "stream": {"batch": 50}},
            transform={
                "prompt": "prompts/classify.txt",
                "model": "openai/any",
                "api_base": model.base_url,
                "limits": {"in_flight": 8},
            },
            load={"destination": "out/classify.parquet", "columns": ["id", "sentiment"], "schema": SCHEMA},
        )
        child = subprocess.Popen(
            project.command("stream", "classify", "--until-empty"),
            env=project.env,
            cwd=project.root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while model.stats()["paid"] < 75:
            assert child.poll() is None
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        run = project.loom("stream", "classify", "--until-empty", "--json")
        stats = model.stats()
    assert run.code == 0, run.out + run.err
    assert Counter(row["id"] for row in project.table()) == Counter(f"r{n}" for n in range(N))
    assert stats["repeated"] <= 8
    offsets = kafka.committed("reviews", "loom-classify")
    assert {p: offsets[p] for p in (0, 1)} == {0: N // 2 + 2, 1: N // 2}
    assert len(project.loom("quarantine", "list", "classify", "--json").json["records"]) == 2
