"""``--since``: how far back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer

from loom_dagster.errors import Misconfigured

__all__ = ["Since", "moment_of"]

Since = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="WHEN", help="Only runs since then: 7d, 12h, or a day such as 2026-11-01."
    ),
]


def moment_of(text: str | None, now: datetime) -> datetime | None:
    """The moment that is meant, aware; a day or time without a zone is one of this machine. Raises Misconfigured."""
    from pydantic import TypeAdapter, ValidationError

    from loom_dagster.spec.blocks import Duration

    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        try:
            back: timedelta = TypeAdapter(Duration).validate_python(text)
            return now - back
        except (ValidationError, OverflowError) as error:
            raise Misconfigured(
                f"--since `{text}` is no time", fix="how long ago (7d, 12h), or a day (2026-11-01)"
            ) from error
    return when.astimezone() if when.tzinfo is None else when
