"""Features of the design that are not there yet: refused by name, never ignored.

A feature that arrives is taken off these lists, and nothing else changes.
"""

from __future__ import annotations

import re
from typing import Any

from loom_dagster.spec.findings import Finding
from loom_dagster.spec.places import in_partition
from loom_dagster.spec.reader import Document

__all__ = ["VERSION", "refuse_later"]

VERSION = "0.1"

_SCHEMES = frozenset({"bigquery", "databricks", "mongodb", "mssql", "oracle", "redshift", "snowflake"})
_SCHEME = re.compile(r"^([a-z][a-z0-9]*)(\+[a-z0-9]+)?:", re.IGNORECASE)
_LABEL = re.compile(r"@[^/.@]+$")


def refuse_later(document: Document) -> tuple[dict[str, Any], list[Finding]]:
    """The tree without what is not available, and a finding for each such thing."""
    tree = {k: dict(v) if isinstance(v, dict) else v for k, v in document.tree.items()}
    findings = []
    transform = tree.get("transform")
    if isinstance(transform, dict):
        findings += _transform(document, transform)
    for loc in (("extract", "source"), ("load", "destination")):
        holder = tree.get(loc[0])
        if isinstance(holder, dict) and isinstance(holder.get(loc[1]), str):
            findings += _place(document, loc, holder[loc[1]])
    return tree, findings


def _transform(document: Document, transform: dict[str, Any]) -> list[Finding]:
    findings = []
    if transform.get("type") == "rag":
        del transform["type"]
        fix = "remove it; documents that belong to a record can come as a column of the source"
        findings.append(_finding(document, ("transform", "type"), "`transform.type: rag`", fix))
    prompt = transform.get("prompt")
    if isinstance(prompt, str) and (label := _LABEL.search(prompt)):
        what = f"a label on a prompt (`{label[0]}`)"
        fix = f"write `prompt: {prompt[: label.start()]}` and pin it with `prompt_version`"
        findings.append(_finding(document, ("transform", "prompt"), what, fix))
    return findings


def _place(document: Document, loc: tuple[str, str], uri: str) -> list[Finding]:
    name = ".".join(loc)
    plain = in_partition(uri, "") if loc == ("extract", "source") else uri
    if "{{" in plain:
        fix = (
            "write the place itself; a source may have {{ partition }} in it"
            if loc[0] == "extract"
            else "write the place itself"
        )
        return [_finding(document, loc, f"a template in `{name}`", fix)]
    scheme = _SCHEME.match(uri)
    if scheme is None or scheme[1].lower() not in _SCHEMES:
        return []
    what = f"`{scheme[0].lower()}//` in `{name}`"
    return [_finding(document, loc, what, "use files: a path, or a URL like s3://bucket/folder")]


def _finding(document: Document, loc: tuple[str, ...], what: str, fix: str) -> Finding:
    return Finding(document.line(*loc), f"{what} is not available in this version ({VERSION})", fix)
