"""What a connector is: rows come from it as Arrow batches, rows go to it as a shipment.

One folder a connector. Others join as entry points of the group ``loom_dagster.connectors``, named by
the scheme they serve, each naming a ``Connector``; docs/connectors.md shows one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import pyarrow as pa

from loom_dagster.connections import Connection
from loom_dagster.spec.models import Extract, Load
from loom_dagster.watermark import Cursor

__all__ = [
    "CHUNK_BYTES",
    "Chunk",
    "Connector",
    "Destination",
    "Incoming",
    "Loaded",
    "Mode",
    "Place",
    "Refused",
    "Rows",
    "Scalar",
    "Shipment",
    "Source",
    "State",
    "Unreadable",
    "Wanted",
    "Watchable",
    "Window",
]

CHUNK_BYTES = 32 * 1024 * 1024

Mode = Literal["append", "overwrite", "upsert"]
Scalar = Cursor  # what a placeholder or a bound holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A source or a destination as a pipeline names it. ``table`` is meant where a database's URI names a
    connection only; relative paths start at ``root``. ``uri`` is as it was written and may hold a secret (a signed
    URL), ``connections`` hold passwords: messages and ``Rows.uri`` show neither."""

    uri: str
    scheme: str
    root: Path
    table: str = ""
    connections: Mapping[str, Connection] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Rows with ``start <= column < end`` (None: without that bound), or with ``column = equal``. A time with a zone
    bounds a column without zones by the digits that clocks there show."""

    column: str
    start: Scalar = None
    end: Scalar = None
    equal: Scalar = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is read. ``extract`` as it is written; ``values`` for the placeholders of its query by their
    names (``execution_date``, ``params.x``); of a query's rows those in the ``window``; a chunk has at most
    about ``rows`` rows. Of a place with files those whose ``known`` state (size, stamp) is as it was are
    left out."""

    extract: Extract
    values: Mapping[str, Scalar] = field(default_factory=dict)
    window: Window | None = None
    rows: int = 8192
    known: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A row that is not one. ``offset`` is its 0-based place among all rows of its chunk; ``raw`` its text."""

    offset: int
    raw: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Rows in the source's order: those of ``table``, and the unreadable ones between them."""

    table: pa.RecordBatch
    unreadable: Sequence[Unreadable] = ()

    @property
    def rows(self) -> int:
        return int(self.table.num_rows) + len(self.unreadable)


class Rows(Protocol):
    """A source that was looked at as a whole. ``schema``: all its columns, none for an empty file.
    ``files``: the state (size, stamp) of each file there, none where rows do not come from files."""

    @property
    def uri(self) -> str: ...

    @property
    def schema(self) -> pa.Schema: ...

    @property
    def files(self) -> Mapping[str, Sequence[str]]: ...

    def chunks(self) -> Iterator[Chunk]:
        """All rows from the start, in constant memory; two readings of unchanged data give one order.

        Raises Misconfigured where the data turns out to be broken, Transient where the server is away.
        """

    def close(self) -> None:
        """Ends readings that are not at their end. Closing twice is fine."""


class Source(Protocol):
    """Where rows come from."""

    def open(self, place: Place, wanted: Wanted) -> Rows:
        """Raises Misconfigured for all that can be known before the first row, Transient while a server is away."""

    def check(self, place: Place, extract: Extract, *, reach: bool) -> None:
        """Raises Misconfigured for what is wrong with the place; other machines are asked only to ``reach`` it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How a place looks from outside. ``files``: the state (size, stamp) of each. Of a table ``rows`` counts those that
    were asked for, ``values`` the different values of their cursor, of which ``highest`` is the highest."""

    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rows: int = 0
    values: int = 0
    highest: Scalar = None


@runtime_checkable
class Watchable(Protocol):
    """A source that tells what is there without being read, often and cheaply: a trigger on new data asks it."""

    def state(self, place: Place, wanted: Wanted) -> State:
        """All files, or the rows with an ``incremental.cursor`` in ``wanted.window``. A place that holds nothing yet
        has an empty state. Raises Misconfigured for a wrong place, Transient while a server is away."""


class Incoming(Protocol):
    """A snapshot's rows on their way to a destination; may be read several times."""

    @property
    def schema(self) -> pa.Schema: ...

    @property
    def rows(self) -> int: ...

    def batches(self) -> Iterator[pa.RecordBatch]: ...

    def with_ids(self) -> Iterator[tuple[list[str], pa.RecordBatch]]:
        """Each batch, and the record ids of its rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """What is loaded, and how. ``key`` columns are among those of ``incoming`` when ``mode`` is upsert."""

    incoming: Incoming
    mode: Mode
    key: tuple[str, ...]
    pipeline: str
    snapshot: str
    fingerprint: str
    partition: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A row that a destination did not take, with its words."""

    record_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """``rows`` of the shipment are there; ``refused`` ones are not."""

    rows: int
    refused: Sequence[Refused] = ()
    notes: Sequence[str] = ()


class Destination(Protocol):
    """Where rows go."""

    def load(self, place: Place, load: Load, shipment: Shipment) -> Loaded:
        """Puts the shipment there, whole or not at all; doing it again changes nothing.

        - overwrite: the place holds this shipment and nothing else.
        - append: a record is added once per record id and fingerprint.
        - upsert: rows with an equal key get the new values; other rows and other columns stay.

        Of a partition, whatever the mode, the rows that came with it before and are not in the shipment go, and
        those of other partitions stay.

        Raises Misconfigured, before anything is written where it can be known by then, and Transient while
        a server is away.
        """

    def check(self, place: Place, load: Load, *, reach: bool) -> None:
        """Raises Misconfigured for what is wrong with the place; nothing is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """What serves some schemes: one or both ways."""

    name: str
    source: Source | None = None
    destination: Destination | None = None
