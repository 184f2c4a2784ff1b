"""Text files as users keep them: found, readable, UTF-8, not absurdly large; else one clear sentence."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from loom_dagster.errors import Misconfigured

__all__ = ["MAX_BYTES", "read_text", "shown_path"]

MAX_BYTES = 16 * 1024 * 1024


def shown_path(path: Path, root: Path) -> str:
    """``path`` as it is shown: relative to ``root`` where it lies below it, ``/`` between folders."""
    with contextlib.suppress(ValueError):
        path = path.relative_to(root)
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


def read_text(path: Path, root: Path) -> str:
    """The text of a file: UTF-8, a byte order mark dropped, every line end a plain newline.

    Line ends are normalised so that a checkout on Windows has the same content and hash.
    Raises Misconfigured.
    """
    where = shown_path(path, root)
    try:
        if path.is_dir():
            raise Misconfigured("is a folder, not a file", where=where)
        if (size := path.stat().st_size) > MAX_BYTES:
            raise Misconfigured(f"is {size:,} bytes; the most that is read is {MAX_BYTES:,}", where=where)
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise Misconfigured("does not exist", where=where) from error
    except OSError as error:
        raise Misconfigured(
            "cannot be read", where=where, why=error.strerror or type(error).__name__
        ) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Misconfigured("is not UTF-8 text", where=f"{where}:{line}", fix="save it as UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")
