"""Which sources can be watched for what is new: those that tell it without being read."""

from __future__ import annotations

import re

from loom_dagster.spec.models import Extract
from loom_dagster.spec.places import is_stream

__all__ = ["TABLES", "why_unwatched"]

TABLES = ("postgres://", "postgresql://", "mysql://", "mariadb://", "sqlite://", "duckdb://")
_WEB = re.compile(r"https?://", re.IGNORECASE)


def why_unwatched(extract: Extract) -> tuple[str, str] | None:
    """Why nobody can tell whether something new is there, and what to do; None: it can be told."""
    source = extract.source
    if is_stream(source):
        return "a stream is consumed as it comes, not watched", "use `loom stream`, without `trigger`"
    if _WEB.match(source):
        why = "a web address does not tell what is new without being read"
        return why, 'read it at set times: `trigger: {cron: "0 * * * *"}`'
    if source.lower().startswith(TABLES) and extract.partitions is None:
        if extract.incremental is None or extract.incremental.cursor is None:
            what = "a query" if extract.query else "a table"
            why = f"{what} without a cursor does not tell which rows are new, short of reading all of them"
            return why, "name a column that grows: `extract.incremental: {cursor: updated_at}`; or use `cron`"
        return None
    return None
