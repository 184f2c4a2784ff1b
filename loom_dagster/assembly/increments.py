"""From where on, and how far, a source is read: the values of its query, and which of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from loom_dagster.connectors import Scalar, Window
from loom_dagster.errors import Misconfigured
from loom_dagster.partitions import Calendar
from loom_dagster.settings import RunOptions
from loom_dagster.spec.models import Pipeline
from loom_dagster.watermark import Watermark, typed

__all__ = ["Start", "start_of"]

_DATE, _END, _KEY = "execution_date", "partition_end", "partition"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """``values`` of a query's placeholders, and of a partition or an incremental source the ``window`` of its rows, or
    its ``known`` files. An ``increment`` leaves out what was loaded before."""

    values: Mapping[str, Scalar] = field(default_factory=dict)
    window: Window | None = None
    known: Mapping[str, Sequence[str]] = field(default_factory=dict)
    increment: bool = False


def start_of(
    spec: Pipeline,
    options: RunOptions,
    watermark: Watermark | None,
    *,
    partition: str = "",
    validating: bool = False,
) -> Start:
    """``execution_date`` is where the partition begins, the watermark less the lag, else what ``--param`` says.
    ``validating``: a value that is not known yet is null. Raises Misconfigured."""
    asked: tuple[str, ...] = ()
    if spec.extract.query:
        from loom_dagster.connectors.sql.query import placeholders  # a database's room, and its drivers

        asked = placeholders(spec.extract.query)
    values: dict[str, Scalar] = dict.fromkeys(asked) if validating else {}
    for name, text in options.params.items():
        placeholder = _DATE if name == _DATE else f"params.{name}"
        if placeholder not in asked:
            raise Misconfigured(
                f"nothing in `{spec.name}` takes the parameter `{name}`",
                fix=f"leave --param {name} out, or write {{{{ {placeholder} }}}} into `extract.query`",
            )
        if name == _DATE and spec.extract.partitions is not None and spec.extract.partitions.every:
            raise Misconfigured(
                f"`{name}` is where a partition begins", fix="leave --param execution_date out"
            )
        values[placeholder] = typed(text)
    if partition:
        return _of_partition(spec, partition, values)
    incremental = spec.extract.incremental
    if incremental is None or watermark is None or options.full_refresh:
        return Start(values=values)
    if incremental.cursor is None:
        return Start(values=values, known=watermark.files, increment=True)
    try:
        start = watermark.start(incremental.lag)
    except TypeError as error:
        raise Misconfigured(
            "`incremental.lag` cannot be taken from the watermark", why=str(error), fix="remove `lag`"
        ) from error
    if start is None:
        return Start(values=values)
    values[_DATE] = start
    return Start(values=values, window=Window(column=incremental.cursor, start=start), increment=True)


def _of_partition(spec: Pipeline, key: str, values: Mapping[str, Scalar]) -> Start:
    """Its times are those of its zone, so that a column without zones is compared with the digits shown there."""
    block = spec.extract.partitions
    assert block is not None  # noqa: S101 - whoever names a partition has asked
    parts = block.partitioning()
    start = Start(values={**values, _KEY: key})
    if isinstance(parts, Calendar):
        span = parts.span(key)
        begin, end = span.start.astimezone(parts.zone), span.end.astimezone(parts.zone)
        start = replace(start, values={**start.values, _DATE: begin, _END: end})
        window = Window(column=block.column or "", start=begin, end=end)
    else:
        window = Window(column=block.column or "", equal=key)
    return replace(start, window=window) if block.column else start
