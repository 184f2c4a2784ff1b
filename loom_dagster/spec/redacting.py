"""What may not be redacted, and what comes of redacting a key: by a pipeline's own file."""

from __future__ import annotations

from collections.abc import Iterator

from loom_dagster.spec.findings import Finding
from loom_dagster.spec.models import Pipeline
from loom_dagster.spec.reader import Document

__all__ = ["check_redaction"]


def check_redaction(spec: Pipeline, document: Document) -> Iterator[Finding]:
    """A hash has no order: it is neither in a window nor before a watermark."""
    extract = spec.extract
    line = document.line("extract", "redact") if extract.redact else 0
    ordered = {
        "partitions.column": extract.partitions.column if extract.partitions else None,
        "incremental.cursor": extract.incremental.cursor if extract.incremental else None,
    }
    for name in extract.redact:
        for where, column in ordered.items():
            if column is not None and name.partition(".")[0] == column:
                what = f"`extract.redact` names `{name}`, which is `extract.{where}`: its values are kept and compared"
                yield Finding(
                    line, what, f"name another column in `extract.{where}`, or leave it out of `redact`"
                )
        if name.startswith("_loom_"):
            yield Finding(line, f"`extract.redact` names `{name}`, which is one of ours", "leave it out")
        if not all(name.split(".")):
            yield Finding(line, f"`extract.redact` names `{name}`", "write a column, or column.field")
        if name in extract.key:
            what = f"`{name}` is the key and is redacted: records, and rows where they are loaded, are known by the hash"
            yield Finding(
                line, what, "if another column identifies a record, name that in `extract.key`", "warning"
            )
