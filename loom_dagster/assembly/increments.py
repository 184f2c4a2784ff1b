"""From where on a source is read: the values of its query, and what of it is new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from loom_dagster.connectors import Scalar, Window
from loom_dagster.errors import Misconfigured
from loom_dagster.settings import RunOptions
from loom_dagster.spec.models import Pipeline
from loom_dagster.watermark import Watermark, typed

__all__ = ["Start", "start_of"]

_DATE = "execution_date"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """``values`` of a query's placeholders, and of an incremental source the ``window`` of its rows, or its
    ``known`` files. An ``increment`` leaves out what was loaded before."""

    values: Mapping[str, Scalar] = field(default_factory=dict)
    window: Window | None = None
    known: Mapping[str, Sequence[str]] = field(default_factory=dict)
    increment: bool = False


def start_of(
    spec: Pipeline, options: RunOptions, watermark: Watermark | None, *, validating: bool = False
) -> Start:
    """``execution_date`` is the watermark less the lag, else what ``--param`` says. ``validating``: a value
    that is not known yet is null. Raises Misconfigured."""
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
        values[placeholder] = typed(text)
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
