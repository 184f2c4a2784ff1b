"""What a database's URI means: a named connection, or a file, and a table there."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote

from loom_dagster.connections import Connection, connection_of
from loom_dagster.connectors.contract import Place
from loom_dagster.errors import Misconfigured

__all__ = ["Table", "table_at"]

_FILES = frozenset({"sqlite", "duckdb"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """``uri`` is for messages. ``schema`` is None for the one that the connection begins in."""

    connection: Connection
    uri: str
    schema: str | None
    name: str


def table_at(place: Place) -> Table:
    """``postgres://CONNECTION[/SCHEMA]/TABLE`` (or ``SCHEMA.TABLE``), ``sqlite:///FILE/TABLE``; without a
    table it is called like the pipeline. Raises Misconfigured."""
    rest = place.uri.partition("://")[2]
    if rest.startswith("/") and place.scheme in _FILES:
        _refuse_parameters(place)
        return _in_file(place, unquote(rest[1:]))
    if "@" in rest:  # not shown: it may hold a password
        raise Misconfigured(
            f"a `{place.scheme}://` URI names a connection, not a user and a host",
            fix=f"declare the server as a connection; then write {place.scheme}://CONNECTION/TABLE",
        )
    _refuse_parameters(place)
    name, *parts = [unquote(part) for part in rest.split("/")]
    parts = [part for part in parts if part]
    if not name:
        raise Misconfigured(
            f"{place.uri} names no connection", fix=f"write {place.scheme}://CONNECTION/TABLE"
        )
    if len(parts) == 1 and re.fullmatch(r"[A-Za-z_]\w*\.[A-Za-z_]\w*", parts[0]):
        parts = parts[0].split(".")
    if len(parts) > 2:
        raise Misconfigured(
            f"{place.uri} has too many parts", fix=f"write {place.scheme}://CONNECTION/SCHEMA/TABLE"
        )
    return Table(
        connection=_rooted(connection_of(name, place.connections), place.root),
        uri=place.uri if parts else f"{place.scheme}://{name}/{quote(place.table, safe='')}".rstrip("/"),
        schema=parts[0] if len(parts) == 2 else None,
        name=parts[-1] if parts else place.table,
    )


def _refuse_parameters(place: Place) -> None:
    if "?" in place.uri or "#" in place.uri:
        raise Misconfigured(
            f"{re.split('[?#]', place.uri)[0]} takes no parameters",
            fix="put them into the connection's URL; a ? or # of a name is written %3F or %23",
        )


def _rooted(connection: Connection, root: Path) -> Connection:
    """A file that a connection's URL names is relative to the project, wherever the process was started."""
    match = re.match(r"^((?:sqlite|duckdb)(?:\+\w+)?:///)([^/:?][^?]*)(.*)$", connection.url)
    return (
        connection
        if match is None
        else replace(connection, url=f"{match[1]}{Path(root, match[2])}{match[3]}")
    )


def _in_file(place: Place, path: str) -> Table:
    """``sqlite:///data/shop.db/reviews``: everything up to the table is the file, relative to the project;
    four slashes begin an absolute path."""
    file, _, table = path.rpartition("/")
    if re.search(r"\.(db|sqlite3?|duckdb|ddb)$", table, re.IGNORECASE) or not file:
        file, table = path, place.table
    url = f"{place.scheme}:///{Path(place.root, file)}"
    return Table(
        connection=Connection(name=file, url=url),
        uri=f"{place.scheme}:///{file}/{table}",
        schema=None,
        name=table,
    )
