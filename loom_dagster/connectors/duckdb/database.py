"""A DuckDB file: opened for reading or for writing, and what goes wrong with it as our errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from loom_dagster.connections import Connection
from loom_dagster.connectors.contract import Place
from loom_dagster.connectors.sql.addresses import Table, table_at
from loom_dagster.errors import LoomError, Misconfigured, Transient

__all__ = ["address", "asking", "opened", "quoted", "spelled"]

# a name in a query never means a variable of ours
_CONFIG = {"python_enable_replacements": "false"}


def address(place: Place) -> tuple[Table, Path]:
    """The table, and the file it is in. Raises Misconfigured."""
    table = table_at(place)
    return table, _file_of(table.connection, place.root)


@contextmanager
def opened(file: Path, *, write: bool = False) -> Iterator[Any]:
    """A connection. Raises Misconfigured without DuckDB and for what is no database, Transient while
    another process has the file."""
    duckdb = _driver()
    if not write and not os.path.exists(file):
        raise Misconfigured(f"the DuckDB file {file} does not exist", fix="check the path")
    if write:
        with asking(f"the DuckDB file {file} cannot be written"):
            os.makedirs(file.parent, exist_ok=True)
    with asking(f"the DuckDB file {file} cannot be opened"):
        connection = duckdb.connect(str(file), read_only=not write, config=_CONFIG)
    try:
        with asking(f"the DuckDB file {file} cannot be opened"):
            connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


@contextmanager
def asking(what: str) -> Iterator[None]:
    """What goes wrong meanwhile becomes Transient (someone else has the file) or Misconfigured, in
    DuckDB's words."""
    duckdb = _driver()
    try:
        yield
    except LoomError:
        raise
    except (duckdb.ConnectionException, duckdb.TransactionException) as error:
        raise _busy(what, error) from error
    except (duckdb.Error, pa.ArrowException, OSError, RuntimeError) as error:
        if "could not set lock" in str(error).lower():
            raise _busy(what, error) from error
        raise Misconfigured(what, why=_words(error), kind="database") from error


def quoted(name: str) -> str:
    """An identifier as SQL."""
    return '"' + name.replace('"', '""') + '"'


def spelled(table: Table, name: str | None = None) -> str:
    """The table, or one called ``name`` beside it, as SQL."""
    own = quoted(name or table.name)
    return own if table.schema is None else f"{quoted(table.schema)}.{own}"


def _driver() -> Any:
    try:
        import duckdb  # 30 MB: not before a file is opened
    except ImportError as error:
        raise Misconfigured(
            "duckdb:// needs a driver that is not installed", fix="pip install 'loom-dagster[duckdb]'"
        ) from error
    return duckdb


def _file_of(connection: Connection, root: Path) -> Path:
    """``duckdb:///data/shop.duckdb`` is relative to the project, four slashes begin an absolute path."""
    scheme, _, rest = connection.url.partition("://")
    path = unquote(rest.partition("?")[0])
    if scheme != "duckdb" or not path.startswith("/") or len(path) == 1:
        raise Misconfigured(
            f"connection `{connection.name}` is not a DuckDB file",
            fix="its `url` is such as duckdb:///data/shop.duckdb",
        )
    return Path(root, path[1:])


def _busy(what: str, error: Exception) -> Transient:
    return Transient(
        what,
        why=f"another process or run has it open, and DuckDB lets one write at a time ({_words(error)})",
        fix="it is tried again; close what has the file open",
        kind="database_away",
    )


def _words(error: Exception) -> str:
    return " ".join(str(error).partition("\nLINE ")[0].split())[:300]
