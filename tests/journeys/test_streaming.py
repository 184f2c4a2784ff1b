"""`loom stream` on a real Redis server: each message arrives once, whatever is killed on the way."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.assembly import Loom
from loom_dagster.errors import Misconfigured
from tests.journeys.project import SCHEMA, Project
from tests.servers.llm import LLMServer

pytestmark = pytest.mark.service
IN_FLIGHT = 16
MODEL = {"find": r"Review \S+: (.*)", "field": "sentiment"}


class Shop:
    """A project that reads the stream `reviews`, and the side that writes to it."""

    group = "loom-classify"

    def __init__(self, project: Project, server, database: int) -> None:
        self.project, self.server = project, server
        self._url = server.url(database)
        project.environ = {"LOOM_CONNECTION_EVENTS": self._url, "OPENAI_API_KEY": "k"}

    @property
    def redis(self):
        import redis

        return redis.Redis.from_url(self._url, protocol=2)

    def pipeline(self, *, batch: int = 100, wait: str = "0.3s", server: LLMServer | None = None, **blocks):
        extract = {
            "source": "redis://events/reviews",
            "key": [],
            "stream": {"batch": batch, "wait": wait},
            **blocks.pop("extract", {}),
        }
        if server is not None:
            blocks["transform"] = {
                "prompt": "prompts/classify.txt",
                "model": "openai/any",
                "api_base": server.base_url,
                "limits": {"in_flight": IN_FLIGHT},
                **blocks.get("transform", {}),
            }
        load = {"destination": "out/classify.parquet", "columns": ["id", "sentiment"], "schema": SCHEMA}
        self.project.pipeline(extract=extract, load={**load, **blocks.pop("load", {})}, **blocks)

    def send(self, *numbers: int) -> None:
        with self.redis as client, client.pipeline() as many:
            for n in numbers:
                many.xadd("reviews", {"data": json.dumps({"id": f"r{n}", "text": f"review number {n}"})})
            many.execute()

    def raw(self, *entries: dict[str, str]) -> None:
        with self.redis as client:
            for entry in entries:
                client.xadd("reviews", entry)

    def waiting(self) -> int:
        """Messages that are not acknowledged."""
        with self.redis as client:
            [group] = client.xinfo_groups("reviews")
            return group["pending"] + group["lag"]

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.project.command("stream", "classify", "--json", *args),
            env=self.project.env,
            cwd=self.project.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def stream(self, *args: str, code: int = 0) -> list[dict]:
        run = self.project.loom("stream", "classify", "--json", *args)
        assert run.code == code, run.out + run.err
        return [json.loads(line) for line in run.out.splitlines()]

    def opened(self) -> Loom:
        return Loom.open(self.project.root, self.project.environ)

    def arrived(self) -> Counter[str]:
        return Counter(row["id"] for row in self.project.table())


def until(condition, *, alive: subprocess.Popen[str] | None = None) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert alive is None or alive.poll() is None, alive.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


def once(*numbers: int) -> Counter[str]:
    return Counter(f"r{n}" for n in numbers)


@pytest.fixture
def shop(project: Project, redis_server):
    shop = Shop(project, redis_server, 1)
    with shop.redis as client:
        client.flushdb()
    return shop


@pytest.fixture
def model():
    labels = {f"review number {n}": "positive" for n in range(1000)}
    with LLMServer(process=True, latency=0.02, labels=labels, **MODEL) as running:
        yield running


@pytest.mark.slow
def test_a_thousand_messages_arrive_exactly_once_though_the_consumer_is_killed_again_and_again(shop, model):
    shop.send(*range(1000))
    shop.pipeline(server=model)
    for paid in (150, 430, 800):  # in the middle of a batch
        child = shop.start("--until-empty")
        until(lambda at=paid: model.stats()["paid"] >= at, alive=child)
        child.send_signal(signal.SIGKILL)
        child.communicate()
    *batches, end = shop.stream("--until-empty")
    assert shop.arrived() == once(*range(1000))
    assert shop.waiting() == 0
    assert model.stats()["repeated"] <= 3 * IN_FLIGHT  # only what was in flight when it was killed
    assert end["exit_code"] == 0 and all(each["batch"]["acknowledged"] for each in batches)
    assert list(shop.project.root.glob(".loom/streams/classify/batches/*")) == []


@pytest.mark.slow
def test_two_consumers_of_one_group_share_the_work(shop, model):
    shop.send(*range(200))
    shop.pipeline(batch=20, server=model)
    children = [shop.start("--batches", "5") for _ in range(2)]
    ended = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0, 0], ended
    assert [json.loads(out.splitlines()[-1])["messages"] for out, _ in ended] == [100, 100]
    assert all(err.count("take turns") <= 1 for _, err in ended)
    assert shop.arrived() == once(*range(200)) and shop.waiting() == 0
    assert model.stats()["repeated"] == 0


@pytest.mark.slow
def test_a_server_that_goes_away_and_comes_back_is_waited_for_and_sigterm_ends_the_stream_in_order(shop):
    shop.pipeline()
    shop.send(*range(50))
    child = shop.start()
    until(lambda: shop.project.root.joinpath("out/classify.parquet").exists(), alive=child)
    until(lambda: shop.waiting() == 0, alive=child)
    shop.server.kill()
    told = child.stderr.readline()
    shop.server.start()
    shop.send(*range(50, 90))
    until(lambda: len(shop.arrived()) == 90 and shop.waiting() == 0, alive=child)
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert "redis://events/reviews cannot be read" in told and "tried again" in told
    assert err.count("tried again") == 0 and "it goes on" in err  # once
    assert shop.arrived() == once(*range(90))
    assert json.loads(out.splitlines()[-1])["exit_code"] == 0


@pytest.mark.slow
def test_the_first_signal_finishes_the_batch_in_flight_and_the_second_ends_at_once(shop, model):
    shop.pipeline(batch=20, server=model)
    shop.send(*range(60))
    model.change(latency=0.5)
    child = shop.start()
    until(lambda: model.stats()["in_flight"] > 0, alive=child)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert shop.arrived() == once(*range(20)) and shop.waiting() == 40
    assert json.loads(out.splitlines()[-1])["messages"] == 20
    model.change(latency=30)
    child = shop.start()
    until(lambda: model.stats()["in_flight"] > 0, alive=child)
    child.send_signal(signal.SIGTERM)
    assert "press again" in child.stderr.readline()
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=20)
    assert child.returncode == 130 and shop.waiting() == 40


def test_messages_that_come_again_are_neither_paid_for_nor_loaded_again(shop, model):
    shop.pipeline(batch=7, server=model)
    shop.send(*range(20))
    shop.stream("--until-empty")
    with shop.redis as client:  # as if no acknowledgement had reached the server
        client.xgroup_setid("reviews", shop.group, 0)
    *_, end = shop.stream("--until-empty")
    assert end["messages"] == 20
    assert shop.arrived() == once(*range(20)) and model.stats()["paid"] == 20


def test_a_table_gets_each_message_once_and_its_quarantine_is_shown_beside_it(shop, postgres):
    import psycopg2

    url = postgres.database()
    shop.project.environ["LOOM_CONNECTION_SHOP"] = url
    load = {
        "destination": "postgres://shop/classified",
        "mode": "append",
        "quarantine": "postgres://shop/broken",
    }
    shop.pipeline(batch=7, load=load)
    shop.send(*range(20))
    shop.raw({"data": "{broken"})
    shop.stream("--until-empty")
    with shop.redis as client:
        client.xgroup_setid("reviews", shop.group, 0)
    shop.stream("--until-empty")
    connection = psycopg2.connect(url)
    cursor = connection.cursor()
    cursor.execute("SELECT id FROM classified")
    rows = Counter(row[0] for row in cursor.fetchall())
    cursor.execute("SELECT count(*) FROM broken")
    [(shown,)] = cursor.fetchall()
    connection.close()
    assert rows == once(*range(20)) and shown == 1


def test_what_is_no_object_goes_to_quarantine_and_holds_up_nothing(shop):
    shop.pipeline(batch=10)
    shop.send(1)
    shop.raw(
        {"data": "{broken"}, {"data": "[1]"}, {"id": "r2", "text": "flat"}, {"other": "x"}, {"data": "7"}
    )
    shop.raw({"data": json.dumps({"id": "r3", "text": "x", "sentiment": "positive"})})  # an output's name
    first, end = shop.stream("--until-empty")
    assert shop.arrived() == once(1, 2) and shop.waiting() == 0
    assert (first["batch"]["passed"], first["batch"]["quarantined"], end["exit_code"]) == (2, 5, 0)
    listed = shop.project.loom("quarantine", "list", "classify", "--json").json
    reasons = " ".join(row["reason"] for row in listed["records"])
    assert "a list, not an object" in reasons and "it has nothing to ask about" in reasons
    assert "`sentiment` is called like an output column" in reasons
    shop.raw({"data": "still broken"})  # alone in its batch
    *_, end = shop.stream("--until-empty", code=1)
    assert "nothing passed" in end["why"] and shop.waiting() == 0
    assert len(shop.project.loom("quarantine", "list", "classify", "--json").json["records"]) == 6


def test_a_held_batch_stops_the_stream_and_its_messages_come_again_until_it_is_released(shop, model):
    evaluate = {
        "evaluators": [{"name": "sure", "type": "regex", "field": "sentiment", "pattern": "negative"}],
        "batch_threshold": 0.5,
    }
    shop.pipeline(server=model, evaluate=evaluate, load={"mode": "append"})
    shop.send(*range(10))
    model.change(labels={f"review number {n}": "negative" if n < 4 else "positive" for n in range(20)})
    for _ in range(2):
        held, end = shop.stream("--until-empty", code=1)
        assert held["batch"]["status"] == "held" and not held["batch"]["acknowledged"]
        assert "4 of 10 records passed (40%) < batch_threshold" in end["why"]
        assert shop.waiting() == 10
    told = shop.project.loom("stream", "classify", "--until-empty")
    assert told.code == 1 and 'loom release classify --why "..."' in told.out
    paid = model.stats()["paid"]
    assert paid == 10
    released = shop.project.loom("release", "classify", "--why", "looked at it", "--no-load")
    assert released.code == 0, released.err
    shop.send(*range(3))
    first, *_, end = shop.stream("--until-empty")
    assert first["batch"]["settled_before"] == 10
    assert end["exit_code"] == 0 and shop.waiting() == 0
    assert shop.arrived() == once(0, 1, 2, 3) + once(0, 1, 2)  # another message is another record
    assert model.stats()["paid"] == paid  # not one answer was paid for again


def test_a_batch_that_a_monitor_holds_stops_the_stream_even_where_what_passes_is_loaded(shop, model):
    evaluate = {
        "evaluators": [{"name": "sure", "type": "regex", "field": "sentiment", "pattern": "negative"}],
        "on_batch_failure": "load_passed",
    }
    rejections = {"max_rate": 0.5, "blocking": True}
    shop.pipeline(server=model, evaluate=evaluate, monitoring={"rejection_rate": rejections})
    shop.send(*range(10))
    model.change(labels={f"review number {n}": "negative" if n < 4 else "positive" for n in range(10)})
    held, end = shop.stream("--until-empty", code=1)
    assert held["batch"]["status"] == "held" and not held["batch"]["acknowledged"]
    assert "rejection_rate: 6 of 10 records are in quarantine (60% > 50%)" in end["why"]
    assert shop.waiting() == 10
    shop.pipeline(server=model, evaluate=evaluate, monitoring={"rejection_rate": 0.5})
    told = shop.project.loom("stream", "classify", "--until-empty")
    assert (told.code, shop.waiting()) == (0, 0)
    assert "rejection_rate: 6 of 10" in " ".join((told.out + told.err).split())


def test_what_was_run_and_could_not_be_loaded_is_loaded_by_the_next_start_without_a_run(shop, model):
    shop.pipeline(server=model, transform={"cache": {"enabled": False}})
    shop.send(*range(5))
    other = shop.project.root / "out/classify.parquet"
    other.parent.mkdir()
    pq.write_table(
        pa.table({"id": [1.5], "sentiment": [True]}), other
    )  # nothing of ours can be appended to it
    shop.stream("--until-empty", code=2)
    assert shop.waiting() == 5
    other.unlink()
    only, end = shop.stream("--until-empty")
    assert only["batch"]["settled_before"] == 5 and "run_id" not in only["batch"]
    assert shop.arrived() == once(*range(5)) and shop.waiting() == 0
    assert model.stats()["paid"] == 5 and end["loaded"] == 5


@pytest.mark.slow
def test_an_outage_is_waited_for_and_a_used_up_budget_is_not(shop, model):
    price = {"price": {"input": 10.0, "output": 40.0}, "max_tokens": 50}
    shop.project.write("pyproject.toml", "[tool.loom]\noutage_patience = 0.5\n")
    shop.pipeline(server=model, transform=price, batch=20)
    shop.send(*range(20))
    model.change(status=503)
    child = shop.start("--until-empty")
    assert "tried again until the provider is back" in next(
        line for line in child.stderr if "tried again" in line
    )
    model.change(status=0)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    assert shop.arrived() == once(*range(20))
    shop.pipeline(server=model, transform=price, batch=20, monitoring={"cost_budget": 0.004})
    shop.send(*range(20, 40))
    *_, end = shop.stream("--until-empty", code=1)
    assert "budget" in end["why"] and shop.waiting() == 20
    assert shop.arrived() == once(*range(20))  # nothing of a batch that is not whole


def test_records_in_quarantine_of_several_batches_are_tried_again_together(shop, model):
    model.change(labels={f"review number {n}": "negative" if n % 2 else "positive" for n in range(6)})
    evaluate = [{"name": "sure", "type": "regex", "field": "sentiment", "pattern": "positive"}]
    shop.pipeline(batch=2, server=model, evaluate={"evaluators": evaluate})
    shop.send(*range(6))
    shop.raw({"data": "{broken"})
    shop.stream("--until-empty")
    assert shop.arrived() == once(0, 2, 4)
    model.change(labels=dict.fromkeys((f"review number {n}" for n in range(6)), "positive"))
    again = shop.project.loom("quarantine", "retry", "classify", "--all")
    assert again.code == 0, again.out + again.err
    assert shop.arrived() == once(*range(6))
    left = shop.project.loom("quarantine", "list", "classify", "--json").json["records"]
    assert [row["kind"] for row in left] == ["unreadable_row"]
    assert model.stats()["paid"] == 9


def test_versions_of_one_record_are_loaded_in_their_order(shop):
    shop.pipeline(extract={"key": "id"}, load={"columns": ["id", "text", "sentiment"]})
    for n in range(12):
        shop.raw({"id": f"r{n % 3}", "text": f"version {n // 3}"})
    *batches, end = shop.stream("--until-empty")
    assert [each["batch"]["messages"] for each in batches] == [3, 3, 3, 3]
    assert {row["id"]: row["text"] for row in shop.project.table()} == dict.fromkeys(
        ("r0", "r1", "r2"), "version 3"
    )
    assert end["quarantined"] == 0


def test_messages_that_do_not_fit_the_pipeline_stop_it_before_a_call_and_stay(shop):
    shop.pipeline()
    shop.raw({"id": "r1", "comment": "no text"})
    [end] = shop.stream("--until-empty", code=2)
    assert "the source has no column `text`" in end["error"]["problems"][0]["what"]
    assert "extract.columns" in end["error"]["message"] and shop.waiting() == 1
    shop.pipeline(extract={"columns": ["id", "text"]})  # it says that it may be missing
    *_, end = shop.stream("--until-empty")
    assert end["exit_code"] == 0 and shop.arrived() == once(1)


def test_what_a_stream_cannot_be_is_refused_with_exit_code_2(shop):
    shop.pipeline()
    run = shop.project.loom("run", "classify", "--direct")
    assert run.code == 2 and "loom stream classify" in run.err
    assert "a stream; it is checked with its first messages" in shop.project.loom("validate", "classify").out
    reached = shop.project.loom("validate", "classify", "--connections")
    assert reached.code == 0, reached.out
    for blocks, why in (
        ({"load": {"mode": "overwrite"}}, "would leave the last few messages"),
        ({"extract": {"limit": 5}}, "`extract.limit` means nothing to a stream"),
        ({"extract": {"source": "redis://nobody/reviews"}}, "there is no connection `nobody`"),
        ({"extract": {"source": "redis://events"}}, "names no stream"),
        ({"extract": {"source": "redis://:secret-word@host/reviews"}}, "names a connection, not a user"),
        ({"extract": {"source": "data/reviews.parquet"}}, "belongs to a redis:// or kafka:// source"),
    ):
        shop.pipeline(**blocks)
        with pytest.raises(Misconfigured) as refused:
            shop.opened().stream("classify", until_empty=True)
        told = " ".join([str(refused.value), *map(str, refused.value.problems)])
        assert why in told and "secret-word" not in told
    shop.project.reviews({"a": "x"})
    shop.pipeline(extract={"source": "data/reviews.parquet", "stream": None})
    assert "which is no stream" in shop.project.loom("stream", "classify").err


def test_what_fails_batch_after_batch_is_told_once_and_recovers(shop: Shop) -> None:
    def judged(pattern: str) -> None:
        shape = {"name": "shape", "type": "regex", "field": "sentiment", "pattern": pattern}
        shop.pipeline(batch=2, evaluate={"evaluators": [shape], "on_batch_failure": "load_passed"})

    def alerts() -> list[tuple[str, str]]:
        shown = shop.project.loom("alerts", "list", "--json").json["alerts"]
        return sorted((alert["event"], alert["check_name"]) for alert in shown)

    judged("zzz")
    shop.send(*range(6))
    shop.stream("--until-empty", code=1)
    failed = [("failed", "quality_gate"), ("failed", "shape")]
    assert alerts() == failed
    judged(".")
    shop.send(*range(6, 10))
    shop.stream("--until-empty")
    assert alerts() == [*failed, ("recovered", "quality_gate"), ("recovered", "shape")]
