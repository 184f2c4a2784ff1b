"""When two addresses of data mean the same place."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["PIPELINE_SCHEME", "in_partition", "is_stream", "names_partition", "same_place", "upstream_name"]

PIPELINE_SCHEME = "pipeline://"
STREAM_SCHEMES = ("redis://", "kafka://")

_PARTITION = re.compile(r"\{\{\s*partition\s*\}\}")
_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://(.*)$", re.DOTALL)


def same_place(uri: str, root: Path) -> str:
    """The one spelling of ``uri``: local paths absolute without ``..``, URLs with a lower-case scheme
    and without doubled or trailing slashes. A pipeline's name is kept as it is."""
    if uri.startswith(PIPELINE_SCHEME):
        return uri
    match = _URL.match(uri)
    if match is None or match[1].lower() == "file":
        local = uri if match is None else match[2]
        return Path(os.path.normpath(root / local)).as_posix()
    return f"{match[1].lower()}://{re.sub('/+', '/', match[2]).rstrip('/')}"


def upstream_name(source: str) -> str | None:
    """The pipeline that ``source`` reads, if it is written ``pipeline://name``."""
    return source.removeprefix(PIPELINE_SCHEME) if source.startswith(PIPELINE_SCHEME) else None


def is_stream(source: str) -> bool:
    """Whether ``source`` does not end: it is consumed by ``loom stream``, never read by a run."""
    return source.lower().startswith(STREAM_SCHEMES)


def names_partition(source: str) -> bool:
    """Whether each partition has a place of its own: ``data/{{ partition }}.csv``."""
    return _PARTITION.search(source) is not None


def in_partition(source: str, key: str) -> str:
    """``source`` for one partition."""
    return _PARTITION.sub(lambda _: key, source)
