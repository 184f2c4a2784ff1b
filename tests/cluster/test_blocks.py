"""What travels between driver and workers comes out as it went in."""

from __future__ import annotations

import decimal
import zipfile
from datetime import UTC, datetime
from io import BytesIO

import pyarrow as pa
import pytest

from loom_dagster.cluster.blocks import packed, packed_tables, read_back, unpacked
from loom_dagster.cluster.bundle import bundle, unbundle
from loom_dagster.cluster.connect import look, place_of
from loom_dagster.cluster.suspects import OpenBlock, Part, after_death
from loom_dagster.connectors.plain import plain_rows
from loom_dagster.errors import Misconfigured
from loom_dagster.gateway import Model, PriceBook
from loom_dagster.gateway.variables import variables_of
from loom_dagster.records import Batch, Quarantined, Record, Stage
from tests.servers.databases import _free_port

TABLE = pa.record_batch(
    {
        "n": pa.array(range(40), pa.int16()),
        "at": pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * 40, pa.timestamp("us", "UTC")),
        "price": pa.array([decimal.Decimal("1.20")] * 40, pa.decimal128(10, 2)),
        "tags": pa.array([["a", None]] * 40, pa.list_(pa.string())),
    }
)


def batch_of(first=10, end=30, rejected=()):
    columns = plain_rows(TABLE)
    records = [Record(id=f"r{n}", position=2 * n, row=n, columns=columns[n]) for n in range(first, end)]
    return Batch(index=3, table=TABLE, records=records, rejected=rejected)


def row(position):
    return Quarantined(
        id=f"q{position}", position=position, stage=Stage.EXTRACT, reason="", kind="null_key", source={}
    )


def test_a_block_holds_its_own_rows_with_their_types_and_nothing_of_others():
    there = unpacked(packed(batch_of(), {"r12": 2, "r39": 1}))
    assert there.index == 3
    assert there.table.equals(TABLE.slice(10, 20))
    assert [(r.id, r.position, r.row) for r in there.records] == [
        (f"r{n}", 2 * n, n - 10) for n in range(10, 30)
    ]
    assert [r.columns for r in there.records] == plain_rows(TABLE)[10:30]
    assert packed(batch_of(), {"r12": 2, "r39": 1}).samples == {"r12": 2}


def test_parts_of_a_block_are_the_block_rejected_rows_too():
    block = packed(batch_of(rejected=[row(5), row(31), row(99)]), {"r11": 1, "r29": 4})
    parts = [unpacked(block.part(first, min(first + 7, 20))) for first in range(0, 20, 7)]
    assert [r.id for part in parts for r in part.records] == block.ids
    assert [q.position for part in parts for q in part.rejected] == [5, 31, 99]
    assert [len(part.rejected) for part in parts] == [2, 0, 1]
    assert [block.part(first, min(first + 7, 20)).samples for first in range(0, 20, 7)] == [
        {"r11": 1},
        {},
        {"r29": 4},
    ]


def test_tables_of_parts_are_one_table_in_order():
    one, two = TABLE.slice(0, 5), TABLE.slice(5, 3)
    made = read_back([packed_tables({"a": one}), packed_tables({"a": two, "b": two})])
    assert made["a"].equals(TABLE.slice(0, 8))
    assert made["b"].equals(two)


def test_who_dies_with_a_block_is_found_in_ever_smaller_parts():
    whole = OpenBlock(packed(batch_of(), {}))
    part = Part(whole, 0, 20)
    assert after_death(part) == [part]  # others were open beside it
    small = after_death(part)
    assert [(p.first, p.end) for p in small] == [(0, 16), (16, 20)]
    single = after_death(small[1])
    assert [(p.first, p.end) for p in single] == [(n, n + 1) for n in range(16, 20)]
    assert after_death(single[0]) == [single[0]]
    assert after_death(single[0]) == []
    tables = packed_tables({"a": TABLE.slice(0, 1)})
    assert [whole.take(p, tables) for p in (*single, small[0])] == [False] * 4 + [True]


def test_a_bundle_has_the_projects_own_files_and_nothing_else(tmp_path):
    for name in (
        *("pyproject.toml", "judge.py", "lib/more.py", "prompts/a.txt", "pipelines/a.yaml", "context/x.md"),
        *(
            "data/rows.csv",
            ".loom/ledger.sqlite",
            ".venv/x.py",
            "env/pyvenv.cfg",
            "env/lib/y.py",
            "notes.txt",
        ),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    made = bundle(tmp_path, ["pipelines", "prompts", "context"])
    assert sorted(zipfile.ZipFile(BytesIO(made)).namelist()) == [
        *("context/x.md", "judge.py", "lib/more.py", "pipelines/a.yaml", "prompts/a.txt", "pyproject.toml")
    ]
    folder = unbundle(made)
    assert (folder / "prompts/a.txt").read_text() == "prompts/a.txt"


def test_files_that_are_too_large_are_named(tmp_path):
    (tmp_path / "prompts").mkdir()
    with (tmp_path / "prompts/big.bin").open("wb") as file:
        file.truncate(65 * 1024 * 1024)
    with pytest.raises(Misconfigured, match=r"prompts/big\.bin"):
        bundle(tmp_path, ["prompts"])


def test_an_address_where_nobody_answers_is_named():
    address = f"127.0.0.1:{_free_port()}"
    with pytest.raises(
        Misconfigured, match=f"no Ray cluster answers at `ray://{address}`: Connection refused"
    ):
        look(f"ray://{address}")


def test_where_an_address_is(monkeypatch):
    assert place_of("ray://head:10001") == ("head", 10001)
    assert place_of("[::1]:6379") == ("::1", 6379)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert place_of("auto") is None
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert place_of("auto") == ("10.0.0.1", 6379)


def test_variables_are_those_that_the_models_are_asked_with_and_no_others():
    environ = {
        "OPENAI_API_KEY": "a",
        "OPENAI_BASE_URL": "b",
        "MY_KEY": "c",
        "ANTHROPIC_API_KEY": "d",
        "HOME": "e",
    }
    prices = PriceBook.load()
    mine = Model(name="openai/gpt-4o-mini", api_key_env="MY_KEY")
    assert variables_of(mine, prices, environ).keys() == {"OPENAI_API_KEY", "OPENAI_BASE_URL", "MY_KEY"}
    assert variables_of(Model(name="offline/demo"), prices, environ) == {}
