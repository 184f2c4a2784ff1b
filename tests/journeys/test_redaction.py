"""Planted secrets in redacted columns reach nothing: no file, no table, no terminal, no model, no log of Dagster's.

Every byte is looked through; without ``extract.redact`` the same look finds them everywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from loom_dagster.extract import Redactor
from tests.journeys.project import Project, Run
from tests.journeys.test_databases import execute, look
from tests.journeys.test_streaming import Shop
from tests.servers.batches import BatchServer
from tests.servers.databases import Server
from tests.servers.llm import LLMServer

pytestmark = pytest.mark.service

NEEDLES = re.compile(rb"zorvex|4930123450|0a9b8c7d", re.IGNORECASE)
CSV = """email,phone,text,expected
zorvex0@x.example,49301234500,fine,positive
zorvex1@x.example,49301234501,fine,positive
zorvex2@x.example,49301234502,WRONG,positive
zorvex3@x.example,49301234503,fine,negative
zorvex4@x.example,49301234504,REFUSE,positive
zorvex5@x.example,49301234505,fine,positive,one too many
,49301234506,fine,positive
zorvex0@x.example,49301234507,again,positive
"""
LINES = [
    {
        "id": "l1",
        "text": "fine",
        "contact": {"email": "zorvex7@x.example", "code": "0a9b8c7d"},
        "tag": "open",
    },
    {
        "id": "l2",
        "text": "WRONG",
        "contact": {"email": "zorvex8@x.example", "code": "0a9b8c7d"},
        "tag": "open",
    },
]
OUTPUT = {"sentiment": {"type": "string"}, "said": {"type": "string"}}
TESTS = """
pipeline: people
distributional_tests:
  - {name: of_the_source, type: statistical, sample_size: 2, assertions: [count() >= 1]}
  - {name: of_a_file, type: statistical, source: data/more.csv, sample_size: 2, assertions: [fraction(length(output.said) > 999) > 0.5]}
integration_tests:
  - {name: end_to_end, steps: [{extract: 4 sample records}], assertions: [records_extracted == 4]}
"""


def answer(request: dict[str, Any]) -> str:
    """Says back what it was told, so that whatever the model sees is in every answer."""
    told = " ".join(message["content"] for message in request["messages"])
    if "WRONG" in told:
        return orjson.dumps({"nonsense": told}).decode()
    return orjson.dumps({"sentiment": "positive", "said": told}).decode()


class Planted:
    """A project whose sources hold secrets, and where they may turn up."""

    def __init__(self, project: Project, postgres: Server, server: LLMServer, *, redact: bool) -> None:
        self.project, self.server, self.redact = project, server, redact
        self.urls = {name: postgres.database() for name in ("customers", "analytics")}
        project.environ = {f"LOOM_CONNECTION_{name.upper()}": url for name, url in self.urls.items()}
        project.environ |= {"OPENAI_API_KEY": "k"}
        self.shown: list[Run] = []
        self._sources()
        self._pipelines()

    def _sources(self) -> None:
        self.project.write("data/people.csv", CSV)
        broken = '{"id": "l3", "contact": {"email": "zorvex9@x.example"'
        self.project.write("data/people.jsonl", "\n".join([*map(json.dumps, LINES), broken]) + "\n")
        execute(self.urls["customers"], "CREATE TABLE people (id text, email text, text text)")
        execute(self.urls["customers"], "INSERT INTO people VALUES ('p1', 'zorvex6@x.example', 'fine')")
        execute(
            self.urls["analytics"],
            f"CREATE TABLE people (email text PRIMARY KEY, phone {'text' if self.redact else 'bigint'}, text text CHECK (text <> 'REFUSE'),"
            " expected text, sentiment text, said text)",
        )

    def _pipelines(self) -> None:
        self.project.write("prompts/p.txt", "{{ input.email }} {{ input.phone }} {{ input.text }}")
        self.project.write("prompts/n.txt", "{{ input.contact }} {{ input.text }}")
        self.project.write("prompts/t.txt", "{{ input.email }} {{ input.text }}")
        model = {"model": "openai/any", "api_base": self.server.base_url}
        exact = {"name": "agrees", "type": "exact_match", "field": "sentiment", "reference_field": "expected"}
        self.project.pipeline(
            "people",
            extract=self._extract("data/people.csv", "email", ["email", "phone"]),
            transform={"prompt": "prompts/p.txt", **model},
            evaluate={"evaluators": [exact]},
            load={"destination": "postgres://analytics/people", "schema": OUTPUT, "columns": "all",
                  "quarantine": "postgres://analytics/held"},
        )  # fmt: skip
        self.project.pipeline(
            "nested",
            extract=self._extract("data/people.jsonl", "id", ["contact.email", "contact.code"]),
            transform={"prompt": "prompts/n.txt", **model},
            load={"destination": "out/nested.parquet", "schema": OUTPUT, "columns": "all"},
        )
        query = "SELECT id, email, text, CAST(email AS integer) AS n FROM people"
        self.project.pipeline(
            "cast",
            extract={**self._extract("postgres://customers/people", "id", ["email"]), "query": query},
            transform={"prompt": "prompts/t.txt", **model},
            load={"destination": "out/cast.parquet", "schema": OUTPUT},
        )

    def _extract(self, source: str, key: str, columns: list[str]) -> dict[str, Any]:
        return {"source": source, "key": key, **({"redact": columns} if self.redact else {})}

    def loom(self, *args: str) -> Run:
        self.shown.append(self.project.loom(*args))
        return self.shown[-1]

    def hits(self) -> dict[str, int]:
        """How often a secret is found, by place."""
        state = self.project.root / ".loom"
        files = [f for f in state.rglob("*") if f.is_file()]
        dagster = [f for f in files if "dagster" in f.relative_to(state).parts[0]]
        return {
            "state": count(piece for f in files if f not in dagster for piece in pieces(f)),
            "dagster": count(piece for f in dagster for piece in pieces(f)),
            "outputs": count(p for f in (self.project.root / "out").rglob("*.parquet") for p in pieces(f)),
            "tests": count(
                p for f in (self.project.root / "tests").rglob("*") if f.is_file() for p in pieces(f)
            ),
            "database": count(self._tables()),
            "terminal": count(f"{run.out}\n{run.err}".encode() for run in self.shown),
            "model": count(orjson.dumps(request) for request in self.server.requests),
        }

    def _tables(self) -> Iterator[bytes]:
        names = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        for row in look(self.urls["analytics"], names):
            yield repr(look(self.urls["analytics"], f'SELECT * FROM "{row["table_name"]}"')).encode()


def count(texts: Iterator[bytes]) -> int:
    return sum(len(NEEDLES.findall(text)) for text in texts)


def pieces(path: Path) -> Iterator[bytes]:
    """Every byte of a file, and what is packed in it."""
    yield path.read_bytes()
    if path.suffix == ".parquet":
        yield repr(pq.read_table(path).to_pylist()).encode()


def use(planted: Planted) -> None:
    """All the ways: passing, unreadable, without a key, repeated, a bad answer, a gate, a destination that refuses, errors
    of a source, and what shows records."""
    for name in ("people", "nested"):
        planted.loom("run", name, "--direct", "--json")
    planted.loom("run", "people", "cast", "--fresh")  # through Dagster
    kept = planted.loom("quarantine", "list", "people", "--json").json["records"]
    assert {"extract", "transform", "evaluate", "load"} == {e["stage"] for e in kept}
    assert {"unreadable_row", "null_key", "repeated_key", "wrong_schema"} <= {e["kind"] for e in kept}
    for stage in ("extract", "load"):
        planted.loom(
            "quarantine", "show", "people", next(e["record_id"] for e in kept if e["stage"] == stage)
        )
    planted.loom("quarantine", "retry", "people", "--all")
    planted.loom("alerts", "list", "--json")
    look_back(planted)


def look_back(planted: Planted) -> None:
    """What is told afterwards, or before anything is asked; and prompts that are tested."""
    run = planted.loom("history", "people", "--json").json["runs"][-1]["run_id"]
    for args in (
        ("lineage", "people", "--run", run, "--format", "openlineage"),
        ("lineage", "people", "--run", run, "--json"),
        ("report", run),
        ("cost", "people", "--dry-run", "--json"),
        ("cost", "nested", "--dry-run"),
        ("metrics", "people", "--format", "prometheus"),
        ("audit", "--json"),
    ):
        assert planted.loom(*args).code == 0
    [passed, *_] = planted.loom("run", "people", "--direct", "--json", "--fresh").outcome["sample"]
    assert planted.loom("lineage", "people", "--record", passed["_loom_record_id"]).code == 0
    planted.project.write("data/more.csv", CSV)
    planted.project.write("tests/people_test.yaml", TESTS)
    for how in (("--record",), ("--replay", "--json")):
        tested = planted.loom("test", "people", *how)
        assert (tested.code, "of_a_file" in tested.out) == (1, True), tested.err


def test_what_waits_in_a_batch_is_redacted_too(project: Project) -> None:
    project.write("data/people.csv", CSV.replace(",one too many", ""))
    project.write("prompts/p.txt", "{{ input.email }} {{ input.phone }} {{ input.text }}")
    project.environ = {"OPENAI_API_KEY": "k"}
    with BatchServer() as provider:
        transform = {"prompt": "prompts/p.txt", "model": "openai/any", "mode": "batch"}
        project.pipeline(
            extract={"source": "data/people.csv", "key": "email", "redact": ["email", "phone"]},
            transform={**transform, "api_base": provider.base_url},
        )
        assert project.run().json["runs"][0]["waits"]
        shown = project.loom("batches", "--json").out + project.loom("status", "--json").out
        spooled = list((project.root / ".loom" / "batches").rglob("*.jsonl"))
        asked = [orjson.dumps(provider.lines()), shown.encode()]
    assert b"redacted:" in spooled[0].read_bytes()
    kept = [f for f in (project.root / ".loom").rglob("*") if f.is_file()]
    assert count(iter(asked)) == 0
    assert count(piece for file in kept for piece in pieces(file)) == 0


@pytest.fixture
def server() -> Iterator[LLMServer]:
    with LLMServer(answer=answer, record=True) as running:
        yield running


@pytest.mark.slow
def test_nothing_planted_is_found_anywhere(project: Project, postgres: Server, server: LLMServer) -> None:
    planted = Planted(project, postgres, server, redact=True)
    use(planted)
    assert planted.hits() == dict.fromkeys(planted.hits(), 0)
    assert any("redacted:" in request["messages"][-1]["content"] for request in server.requests)
    loaded = look(planted.urls["analytics"], "SELECT email, phone, text FROM people")
    assert {row["text"] for row in loaded} == {"fine"}
    assert all(row[column].startswith("redacted:") for row in loaded for column in ("email", "phone"))
    [nested] = project.table("out/nested.parquet")
    assert nested["contact"]["email"].startswith("redacted:")
    assert "may quote a row" in next(
        run.out for run in planted.shown if '"database"' in run.out or run.code == 2
    )


@pytest.mark.slow
def test_without_it_the_same_look_finds_them_everywhere(
    project: Project, postgres: Server, server: LLMServer
) -> None:
    planted = Planted(project, postgres, server, redact=False)
    use(planted)
    assert {place for place, number in planted.hits().items() if not number} == set()


def test_a_key_in_the_environment_makes_the_same_hashes_anywhere(project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "other")
    ids = []
    for one in (project, other):
        one.environ = {"LOOM_REDACTION_KEY": "the same key on every machine"}
        one.reviews({"a@x": "text", "b@x": "more"})
        one.pipeline(extract={"redact": "id"})
        assert one.run().code == 0
        ids.append([row["id"] for row in one.table()])
        assert not (one.root / ".loom" / "redaction.key").exists()
    assert ids[0] == ids[1]
    assert all(i.startswith("redacted:") for i in ids[0])


def test_a_project_makes_a_key_of_its_own_and_says_so(project: Project) -> None:
    project.reviews({"a@x": "text"})
    project.pipeline(extract={"redact": "id"})
    key = project.root / ".loom" / "redaction.key"
    assert "redaction.key was made" in " ".join(project.run().outcome["notes"])
    assert "redaction.key" not in project.loom("validate", "classify").out
    assert key.stat().st_mode & 0o777 == 0o600
    first = project.table()
    again = project.run("classify", "--fresh").outcome
    assert (again["spending"]["calls"], project.table()) == (0, first)
    assert key.read_text().strip() not in json.dumps(again)


def test_redacting_asks_anew_and_a_new_key_too(project: Project) -> None:
    project.reviews({"r1": "text"})
    project.pipeline()
    calls = [project.run().outcome["spending"]["calls"]]
    project.pipeline(extract={"redact": "id"})
    calls.append(project.run().outcome["spending"]["calls"])
    project.environ = {"LOOM_REDACTION_KEY": "another key altogether"}
    calls.append(project.run().outcome["spending"]["calls"])
    assert calls == [1, 1, 1]


def test_what_cannot_be_redacted_is_named_before_anything_is_spent(project: Project) -> None:
    project.reviews({"r1": "text"})
    for extract, said in (
        ({"redact": "txet"}, "did you mean `text`"),
        ({"redact": "text.first", "incremental": {"cursor": "text"}}, "is `extract.incremental.cursor`"),
        ({"redact": "_loom_x"}, "one of ours"),
        ({"redact": "text."}, "write a column, or column.field"),
    ):
        project.pipeline(extract=extract)
        for command in (("validate", "classify"), ("run", "classify", "--direct")):
            refused = project.loom(*command)
            assert refused.code == 2
            assert said in refused.out + refused.err
    project.environ = {"LOOM_REDACTION_KEY": "short"}
    project.pipeline(extract={"redact": "text"})
    assert "needs 16" in project.loom("validate", "classify").out
    assert project.loom("answers", "--json").json["answers"] == 0


def test_rows_that_were_kept_before_are_redacted_when_they_are_tried_again(
    project: Project, server: LLMServer
) -> None:
    project.environ = {"OPENAI_API_KEY": "k"}
    project.reviews({"r1": "WRONG zorvex"})
    transform = {"prompt": "prompts/classify.txt", "model": "openai/any", "api_base": server.base_url}
    project.pipeline(transform=transform)
    project.run()
    assert b"zorvex" in orjson.dumps(server.requests[-1])
    project.pipeline(transform=transform, extract={"redact": "text"})
    project.loom("quarantine", "retry", "classify", "--all")
    assert b"redacted:" in orjson.dumps(server.requests[-1])
    assert b"zorvex" not in orjson.dumps(server.requests[-1])


def test_records_of_a_run_from_before_are_redacted_when_a_version_is_compared_with_it(
    project: Project, server: LLMServer
) -> None:
    project.environ = {"OPENAI_API_KEY": "k"}
    project.reviews({"zorvex@x.example": "fine", "b@x.example": "WRONG zorvex"})
    transform = {"prompt": "prompts/classify.txt", "model": "openai/any", "api_base": server.base_url}
    project.pipeline(transform=transform)
    run_id = project.run().outcome["run_id"]
    asked = len(server.requests)
    project.pipeline(transform=transform, extract={"redact": ["id", "text"]})
    case = "unit_tests: [{name: one, input: {id: c, text: fine}, expected: {sentiment: positive}}]"
    project.write("tests/classify_test.yaml", f"pipeline: classify\n{case}\n")
    compared = project.loom("test", "classify", "--baseline", run_id, "--json")
    later = server.requests[asked:]
    assert len(later) >= 2, compared.err + compared.out
    assert b"redacted:" in orjson.dumps(later)
    assert count(iter([orjson.dumps(later), compared.out.encode(), compared.err.encode()])) == 0


def test_messages_of_a_stream_are_redacted_from_the_first_batch_on(
    project: Project, redis_server: Server, server: LLMServer
) -> None:
    shop = Shop(project, redis_server, 3)
    with shop.redis as client:
        client.flushdb()
    shop.pipeline(extract={"key": "id", "redact": ["text", "phone"]}, load={"columns": "all"})
    project.environ["LOOM_REDACTION_KEY"] = "the same key on every machine"
    for batch in (1, 2):  # two processes: the second knows the columns from what the first one wrote
        message = {"id": f"m{batch}", "text": "zorvex", "phone": 49301234500}
        shop.raw({"data": json.dumps(message)}, {"data": '{"text": "zorvex"'})
        shop.stream("--until-empty")
    first, second = project.table()
    assert (first["text"], first["phone"]) == (second["text"], second["phone"])
    assert first["phone"] == Redactor(b"the same key on every machine").text("49301234500")
    kept = [f for f in (project.root / ".loom").rglob("*") if f.is_file()]
    assert count(piece for file in kept for piece in pieces(file)) == 0
    assert len(project.loom("quarantine", "list", "classify", "--json").json["records"]) == 1


def test_a_stream_without_the_field_stops_before_anything_is_asked(
    project: Project, redis_server: Server
) -> None:
    shop = Shop(project, redis_server, 4)
    with shop.redis as client:
        client.flushdb()
    shop.send(1, 2)
    shop.pipeline(extract={"redact": "emial"})
    stopped = project.loom("stream", "classify", "--until-empty")
    assert (stopped.code, "no column `emial`" in stopped.err) == (2, True), stopped.err
    assert project.loom("answers", "--json").json["answers"] == 0
