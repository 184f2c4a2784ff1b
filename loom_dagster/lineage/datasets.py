"""What a place is called in OpenLineage: https://openlineage.io/docs/spec/naming.

A database is known by its server, not by the name that a project gives its connection: so the table that another tool
writes and this one reads is one dataset.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from loom_dagster.connections import Connection, connection_of, redacted
from loom_dagster.errors import Misconfigured

__all__ = ["dataset_name"]

_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://(.*)$", re.DOTALL)
_PORTS = {"postgres": 5432, "mysql": 3306, "kafka": 9092, "redis": 6379}
_SERVERS = {"postgres": "postgres", "postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql", "kafka": "kafka",
            "redis": "redis"}  # fmt: skip


def dataset_name(
    uri: str, *, own: str, table: str, root: Path, connections: Mapping[str, Connection]
) -> tuple[str, str]:
    """Namespace and name. ``own`` is the namespace of this project's pipelines; ``table`` is meant where a database's
    address names a connection only."""
    match = _URL.match(uri)
    if match is None or match[1].lower() == "file":
        return "file", Path(os.path.normpath(root / (uri if match is None else match[2]))).as_posix()
    scheme, rest = match[1].lower(), match[2]
    if scheme == "pipeline":
        return own, f"{rest}.transformed"
    family = _SERVERS.get(scheme.partition("+")[0])
    if family is not None:
        return _server(family, rest, table, connections)
    host, _, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}", path.partition("?")[0].strip("/") or "/"


def _server(family: str, rest: str, table: str, connections: Mapping[str, Connection]) -> tuple[str, str]:
    name, *parts = [p for p in rest.partition("?")[0].split("/") if p]
    what = parts or [table]
    try:
        url = urlsplit(redacted(connection_of(name, connections).url))
    except (Misconfigured, ValueError):
        return f"{family}://{name.rpartition('@')[2]}", ".".join(what)
    server = f"{family}://{url.hostname or 'localhost'}:{url.port or _PORTS[family]}"
    database = [unquote(p) for p in url.path.split("/") if p]
    if family == "postgres" and len(what) == 1:
        what = ["public", *what]
    return server, ".".join([*(database if family in ("postgres", "mysql") else ()), *what])
