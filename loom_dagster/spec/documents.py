"""What a document is as a record: its columns, and which of them says which one it is."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["DOCUMENT_COLUMNS", "document_key"]

DOCUMENT_COLUMNS = ("path", "text", "size", "etag", "modified")


def document_key(columns: Sequence[str]) -> tuple[str, ...]:
    """What identifies the rows of a source with these columns by itself: a document's path."""
    return ("path",) if tuple(columns[: len(DOCUMENT_COLUMNS)]) == DOCUMENT_COLUMNS else ()
