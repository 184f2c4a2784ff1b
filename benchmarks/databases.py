"""Databases against what a person would write by hand for the same work.

    python -m benchmarks.databases load --rows 1000000 [--modes upsert,append] [--times 3]
    python -m benchmarks.databases extract --rows 1000000 [--times 3]
    python -m benchmarks.databases through --rows 1000000

`load`: rows of a snapshot in a Parquet file go into a PostgreSQL server of its own. By hand: the same rows, as a
CSV file on disk, with COPY into a staging table, ANALYZE, and the same merge: INSERT ... ON CONFLICT DO UPDATE for upsert;
for append the rows that have no mark yet and their marks, which are in the file already. Each side has the best of its times.

`extract`: a table is read whole, in order of its key as a run reads it; by hand with COPY ... TO STDOUT, in no order, thrown away.
`through`: a whole run of `loom run --direct` from one table into another, with the offline model; its peak of memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from loom_dagster.connections import Connection
from loom_dagster.connectors import Shipment, Wanted, place_of
from loom_dagster.connectors.contract import Mode
from loom_dagster.connectors.sql.destination import SqlDestination
from loom_dagster.connectors.sql.marks import marks_of
from loom_dagster.connectors.sql.source import SqlSource
from loom_dagster.spec.models import Extract, Load
from tests.servers.databases import Postgres

COLUMNS = "id bigint, review text, sentiment text, confidence float8, at timestamptz"
NAMES = "id, review, sentiment, confidence, at"


@dataclass(frozen=True)
class Snapshot:
    """A Parquet file as it comes out of a run, read in constant memory."""

    path: Path

    @property
    def schema(self) -> pa.Schema:
        return pq.read_schema(self.path)

    @property
    def rows(self) -> int:
        return int(pq.read_metadata(self.path).num_rows)

    def batches(self) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(self.path) as file:
            yield from file.iter_batches(4096)

    def with_ids(self) -> Iterator[tuple[list[str], pa.RecordBatch]]:
        for batch in self.batches():
            yield batch.column(0).cast(pa.string()).to_pylist(), batch


def _write(path: Path, rows: int, word: str) -> None:
    with pq.ParquetWriter(path, _batch(0, 1, word).schema) as writer:
        for start in range(0, rows, 65536):
            writer.write_batch(_batch(start, min(start + 65536, rows), word))


def _batch(start: int, end: int, word: str) -> pa.RecordBatch:
    numbers = range(start, end)
    return pa.record_batch(
        {
            "id": pa.array(numbers, pa.int64()),
            "review": [f"Review {n} says that it was {word}, and then goes on for a line." for n in numbers],
            "sentiment": [("positive", "negative", "neutral")[n % 3] for n in numbers],
            "confidence": [n % 1000 / 1000 for n in numbers],
            "at": pa.array([1_700_000_000_000_000 + n for n in numbers], pa.timestamp("us", "UTC")),
        }
    )


def _csv(snapshot: Snapshot, path: Path) -> None:
    """With the marks as its last column."""
    with path.open("wb") as file:
        for ids, batch in snapshot.with_ids():
            marks = pa.array([mark.hex() for mark in marks_of(ids, "", "f")])
            table = pa.Table.from_batches([batch.append_column("mark", marks)])
            pyarrow.csv.write_csv(table, file, pyarrow.csv.WriteOptions(include_header=False))


def _by_hand(url: str, path: Path, mode: Mode) -> float:
    sets = ", ".join(f"{name} = excluded.{name}" for name in NAMES.split(", ")[1:])
    merge = [f"INSERT INTO hand SELECT {NAMES} FROM staged ON CONFLICT (id) DO UPDATE SET {sets}"]
    if mode == "append":
        new = "NOT EXISTS (SELECT 1 FROM hand_marks m WHERE m.mark = staged.mark)"
        merge = [
            f"INSERT INTO hand SELECT {NAMES} FROM staged WHERE {new}",
            f"INSERT INTO hand_marks SELECT mark FROM staged WHERE {new}",
        ]
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor, path.open("rb") as file:
            start = time.perf_counter()
            cursor.execute(f"CREATE TEMP TABLE staged ({COLUMNS}, mark uuid) ON COMMIT DROP")
            cursor.copy_expert("COPY staged FROM STDIN (FORMAT csv)", file, 1 << 20)
            cursor.execute("ANALYZE staged")
            for statement in merge:
                cursor.execute(statement)
            connection.commit()
            return time.perf_counter() - start
    finally:
        connection.close()


def _ours(url: str, snapshot: Snapshot, mode: Mode) -> float:
    place = place_of("postgres://db/ours", Path(), connections={"db": Connection(name="db", url=url)})
    shipment = Shipment(
        incoming=snapshot, mode=mode, key=("id",), pipeline="p", snapshot="s", fingerprint="f"
    )
    start = time.perf_counter()
    loaded = SqlDestination().load(place, Load(destination=place.uri), shipment)
    took = time.perf_counter() - start
    if loaded.rows != snapshot.rows:
        raise SystemExit(f"{loaded.rows} of {snapshot.rows} rows were loaded")
    return took


def _emptied(url: str, mode: Mode) -> None:
    key = ", PRIMARY KEY (id)" if mode == "upsert" else ""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS hand, hand_marks, ours, _loom_marks, _loom_loads")
        cursor.execute(f"CREATE TABLE hand ({COLUMNS}{key})")
        cursor.execute("CREATE TABLE hand_marks (mark uuid PRIMARY KEY)")
        cursor.execute("CHECKPOINT")
    connection.close()


def load(rows: int, modes: Sequence[Mode], times: int) -> None:
    """Prints a table: seconds of both sides, for a load of new rows and for the same load again."""
    server = Postgres()
    server.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            url, path, parquet = server.database(), Path(folder, "rows.csv"), Path(folder, "rows.parquet")
            _write(parquet, rows, "good")
            snapshot = Snapshot(parquet)
            _csv(snapshot, path)
            print("| mode | rows | | by hand, s | loom, s | ratio |\n|---|---|---|---|---|---|")
            for mode in modes:
                found: dict[tuple[str, str], list[float]] = {}
                for _ in range(times):
                    _emptied(url, mode)
                    for what in ("new rows", "again"):
                        found.setdefault((what, "hand"), []).append(_by_hand(url, path, mode))
                        found.setdefault((what, "ours"), []).append(_ours(url, snapshot, mode))
                for what in ("new rows", "again"):
                    hand, ours = min(found[what, "hand"]), min(found[what, "ours"])
                    print(f"| {mode} | {rows:,} | {what} | {hand:.2f} | {ours:.2f} | {ours / hand:.2f} |")
            for some in (rows // 10, rows):
                print(
                    f"\nPeak memory of a process that upserts {some:,} rows: {_peak(url, Path(folder), some)} MB"
                )
    finally:
        server.close()


def extract(rows: int, times: int) -> None:
    """Prints a table: seconds of COPY out, and of reading the same table as a source."""
    with _filled(rows) as (url, _):
        hand, ours = [], []
        for _ in range(times):
            hand.append(_copied_out(url))
            ours.append(_read(url, rows))
        print("| rows | COPY out, s | loom, s | ratio |\n|---|---|---|---|")
        print(f"| {rows:,} | {min(hand):.2f} | {min(ours):.2f} | {min(ours) / min(hand):.2f} |")


def through(rows: int) -> None:
    """Prints a table: a whole run from table to table, for a tenth of the rows and for all of them."""
    print("| rows | seconds | peak MB | loaded |\n|---|---|---|---|")
    for some in (rows // 10, rows):
        with _filled(some) as (url, folder):
            _project(folder)
            command = [sys.executable, "-m", "loom_dagster.cli.main", "run", "through", "--direct", "--json"]
            environ = {**os.environ, "LOOM_CONNECTION_DB": url, "PYTHONPATH": str(Path.cwd())}
            start = time.perf_counter()
            process = subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.DEVNULL)
            _, _, used = os.wait4(process.pid, 0)
            took = time.perf_counter() - start
            print(f"| {some:,} | {took:.1f} | {used.ru_maxrss // 1024} | {_count(url, 'scores'):,} |")


@contextmanager
def _filled(rows: int) -> Iterator[tuple[str, Path]]:
    """The URL of a database with a table of reviews, and a folder."""
    server = Postgres()
    server.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            url, path = server.database(), Path(folder, "rows.parquet")
            _write(path, rows, "good")
            place = place_of(
                "postgres://db/reviews", Path(), connections={"db": Connection(name="db", url=url)}
            )
            shipment = Shipment(
                incoming=Snapshot(path),
                mode="upsert",
                key=("id",),
                pipeline="p",
                snapshot="s",
                fingerprint="f",
            )
            SqlDestination().load(place, Load(destination=place.uri), shipment)
            _execute(url, "VACUUM ANALYZE reviews")
            yield url, Path(folder)
    finally:
        server.close()


def _copied_out(url: str) -> float:
    connection = psycopg2.connect(url)
    start = time.perf_counter()
    with connection.cursor() as cursor, Path(os.devnull).open("wb") as nowhere:
        cursor.copy_expert("COPY reviews TO STDOUT", nowhere, 1 << 20)
    took = time.perf_counter() - start
    connection.close()
    return took


def _read(url: str, rows: int) -> float:
    place = place_of("postgres://db/reviews", Path(), connections={"db": Connection(name="db", url=url)})
    start = time.perf_counter()
    source = SqlSource().open(place, Wanted(extract=Extract(source=place.uri, key=("id",))))
    found = sum(chunk.rows for chunk in source.chunks())
    took = time.perf_counter() - start
    source.close()
    if found != rows:
        raise SystemExit(f"{found} of {rows} rows were read")
    return took


def _project(folder: Path) -> None:
    for name, text in {
        "pyproject.toml": '[tool.loom]\nmodel = "offline/demo"\n',
        "prompts/p.txt": "Is it good or bad?\n{{ input.review }}",
        "pipelines/through.yaml": "name: through\nextract: {source: postgres://db/reviews, key: id}\n"
        "transform: {prompt: prompts/p.txt}\n"
        "load: {destination: postgres://db/scores, schema: {label: {type: string, enum: [good, bad]}}}\n",
    }.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _execute(url: str, statement: str) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    connection.cursor().execute(statement)
    connection.close()


def _count(url: str, table: str) -> int:
    connection = psycopg2.connect(url)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        [[number]] = cursor.fetchall()
    connection.close()
    return int(number)


def _peak(url: str, folder: Path, rows: int) -> int:
    """In a process of its own."""
    path = folder / f"{rows}.parquet"
    _write(path, rows, "fine")
    command = [sys.executable, "-m", "benchmarks.databases", "alone", "--url", url, "--snapshot", str(path)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["load", "extract", "through", "alone"])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--modes", default="upsert,append")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--url")
    parser.add_argument("--snapshot", type=Path)
    given = parser.parse_args()
    if given.what == "alone":
        _ours(given.url, Snapshot(given.snapshot), "upsert")
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    elif given.what == "extract":
        extract(given.rows, given.times)
    elif given.what == "through":
        through(given.rows)
    else:
        load(given.rows, given.modes.split(","), given.times)


if __name__ == "__main__":
    main()
