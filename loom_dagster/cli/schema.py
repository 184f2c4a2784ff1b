"""``loom schema``: the YAML of a pipeline as JSON Schema, for editors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from loom_dagster.cli.exits import OK
from loom_dagster.cli.output import emit
from loom_dagster.cli.terminal import Terminal
from loom_dagster.errors import Misconfigured

__all__ = ["schema"]


def schema(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there instead of stdout.")
    ] = None,
) -> int:
    """Print the JSON Schema of pipeline files."""
    import json

    from loom_dagster.spec import json_schema

    document = json_schema()
    if out is None:
        emit(document)
        return OK
    try:
        out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise Misconfigured("the schema cannot be written", where=str(out), why=error.strerror) from error
    terminal = Terminal(sys.stdout)
    terminal.line(f"Wrote {out}. Editors with a YAML language server use it when a pipeline begins with")
    terminal.line(f"  # yaml-language-server: $schema=../{out.name}")
    return OK
