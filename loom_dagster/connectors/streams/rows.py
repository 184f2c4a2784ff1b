"""Messages as rows of a table whose columns stay as they are while messages come and go.

A field that a message leaves out is null. A field keeps the kind it had first (numbers may become decimals):
a message that has another one there is unreadable, for the table that it is loaded into would not take it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from loom_dagster.connectors.contract import Chunk, Unreadable
from loom_dagster.connectors.files.formats.documents import parsed
from loom_dagster.connectors.files.formats.kinds import Kind, arrow_type, fitted, kind_of, unify
from loom_dagster.connectors.files.formats.text import shown
from loom_dagster.connectors.keys import key_text
from loom_dagster.connectors.streams.contract import Message

__all__ = ["MessageReader", "MessageRows"]

_OURS = "_loom_"
_NUMBERS = frozenset({"int", "long", "float"})
_MOST = 1000  # fields that are remembered from one batch to the next


class MessageRows:
    """One batch of messages, read."""

    files: Mapping[str, Sequence[str]] = {}

    def __init__(self, uri: str, chunk: Chunk) -> None:
        self.uri, self.schema = uri, chunk.table.schema
        self._chunk = chunk

    def chunks(self) -> Iterator[Chunk]:
        yield self._chunk

    def close(self) -> None:
        """Nothing is open."""


class MessageReader:
    """Turns batches into rows and remembers the fields that it saw.

    ``columns``: all that is read, if they are declared. ``key``: what identifies a record; without one the
    message's id does. ``wanted``: what the prompt reads; a message with none of it is unreadable, before it is paid
    for. ``taken``: names that a field must not have. ``known``: columns seen by earlier processes.
    """

    def __init__(
        self,
        uri: str,
        *,
        columns: Sequence[str] = (),
        key: Sequence[str] = (),
        wanted: frozenset[str] = frozenset(),
        taken: frozenset[str] = frozenset(),
        known: pa.Schema | None = None,
    ) -> None:
        self._uri, self._declared, self._key = uri, tuple(columns), tuple(key)
        self._wanted, self._taken = wanted, taken
        self._known: dict[str, Kind] = dict.fromkeys(columns, "null")
        for field in known or ():
            if not self._declared or field.name in self._known:
                self._known[field.name] = _kind_of_type(field.type)

    def until_repeated(self, messages: Sequence[Message]) -> int:
        """How many messages from the first on have a key each of their own: two versions of one record are
        two batches, so that the later one is the last to be loaded."""
        seen: set[str] = set()
        for number, message in enumerate(messages if self._key else ()):
            try:
                row = parsed(message.value)
            except ValueError:
                continue
            text = key_text([row.get(name) for name in self._key])
            if text is not None and text in seen:
                return number
            if text is not None:
                seen.add(text)
        return len(messages)

    def names(self, messages: Sequence[Message]) -> list[str]:
        """The columns that a pipeline has to fit. A name that it must not have is one if all messages have it."""
        found: Counter[str] = Counter()
        objects = 0
        for message in () if self._declared else messages:
            try:
                found.update(parsed(message.value).keys())
                objects += 1
            except ValueError:
                continue
        names = [n for n in found if n.strip() and not n.startswith(_OURS)]
        stray = {n for n in names if n in self._taken and found[n] < objects}
        return [n for n in dict.fromkeys([*self._known, *names]) if n not in stray]

    def rows(self, messages: Sequence[Message]) -> MessageRows:
        """The batch as rows; a message that is none is an unreadable row."""
        kinds = dict(self._known)
        rows: list[dict[str, Any]] = []
        ids: list[str] = []
        unreadable: list[Unreadable] = []
        for offset, message in enumerate(messages):
            try:
                row = self._row(message)
            except ValueError as error:
                reason = f"message {message.id}: {error}"
                unreadable.append(Unreadable(offset=offset, raw=shown(message.value), reason=reason))
                continue
            for name, value in row.items():
                kinds[name] = unify(kinds.get(name, "null"), kind_of(value), exact=name in self._key)
            rows.append(row)
            ids.append(message.id)
        self._remember(kinds)
        return MessageRows(self._uri, Chunk(table=self._table(rows, ids, kinds), unreadable=unreadable))

    def _row(self, message: Message) -> dict[str, Any]:
        """Raises ValueError saying what is wrong with it."""
        row = parsed(message.value)
        if self._declared:
            row = {name: row[name] for name in self._declared if name in row}
        for name, value in row.items():
            if not name.strip():
                raise ValueError("it has a field without a name")
            if name.startswith(_OURS):
                raise ValueError(f"its field `{name}` is named like ours (`{_OURS}`)")
            if name in self._taken:
                raise ValueError(f"its field `{name}` is called like an output column")
            known, kind = self._known.get(name, "null"), kind_of(value)
            if not _fits(known, unify(known, kind, exact=name in self._key)):
                raise ValueError(f"its field `{name}` is {_said(kind)}, and it was {_said(known)} before")
        if self._wanted and all(row.get(name) is None for name in self._wanted):
            raise ValueError(f"it has nothing to ask about, no {' and no '.join(sorted(self._wanted))}")
        return row

    def _remember(self, kinds: Mapping[str, Kind]) -> None:
        for name, kind in kinds.items():
            if name in self._known or len(self._known) < _MOST:
                self._known[name] = kind

    def _table(
        self, rows: Sequence[Mapping[str, Any]], ids: Sequence[str], kinds: Mapping[str, Kind]
    ) -> pa.RecordBatch:
        columns: dict[str, pa.Array] = {}
        for name, kind in kinds.items():
            of = arrow_type(kind)
            columns[name] = pa.array([fitted(row.get(name), of) for row in rows], of)
        if not self._key and columns:
            columns["_loom_record_id"] = pa.array(ids, pa.string())
        if not columns:
            return pa.RecordBatch.from_struct_array(pa.array([{}] * len(rows), pa.struct([])))
        return pa.RecordBatch.from_pydict(columns)


def _fits(known: Kind, both: Kind) -> bool:
    """Whether a column stays what it is: of numbers, or of truth values."""
    return both in _NUMBERS if known in _NUMBERS else both == "bool" if known == "bool" else True


def _said(kind: Kind) -> str:
    words = {"text": "a text", "bool": "true or false", "json": "no number that a table holds"}
    if kind in _NUMBERS:
        return "a number"
    return words.get(kind, str(kind)) if isinstance(kind, str) else "a list or an object"


def _kind_of_type(kind: pa.DataType) -> Kind:
    """Of a column that was written before. Of what is neither number nor bool only the name counts."""
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_integer(kind):
        return "int"
    if pa.types.is_floating(kind):
        return "float"
    return "text" if pa.types.is_string(kind) else "null"
