"""The key that ``extract.redact`` hashes with: from the environment, else a file that is made once."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path

from loom_dagster.errors import Misconfigured, Problem
from loom_dagster.extract import Redactor
from loom_dagster.settings import Settings

__all__ = ["KEY", "redactor"]

KEY = "LOOM_REDACTION_KEY"
_LEAST = 16  # characters: a shorter one can be tried out
_FILE = "redaction.key"


def redactor(settings: Settings, environ: Mapping[str, str], *, where: str, found: list[Problem]) -> Redactor:
    """With what there is to say of its key in ``found``. Raises Misconfigured for a key that cannot be used."""
    if given := environ.get(KEY, ""):
        if len(given) < _LEAST:
            raise Misconfigured(
                f"{KEY} has {len(given)} characters, and needs {_LEAST}",
                where=where,
                fix="make one: python -c 'import secrets; print(secrets.token_hex(32))'",
            )
        return Redactor(given.encode())
    path = settings.state_dir / _FILE
    shown = f"{settings.state}/{_FILE}"
    key, made = _kept(path)
    shared = settings.ledger is not None and settings.ledger.startswith("postgres")
    if made or shared:
        said = (
            f"{shown} was made, as there is no {KEY}"
            if made
            else f"the ledger is shared and the key is not: {shown}"
        )
        fix = f"keep it: without it no value is ever the same again; on other machines set {KEY} to what is in it"
        found.append(Problem(what=said, where=where, fix=fix, level="warning"))
    return Redactor(key)


def _kept(path: Path) -> tuple[bytes, bool]:
    """What is in the file, and whether it was made now: at once, whoever else tries."""
    made = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".redaction-")  # 0600
            try:
                with os.fdopen(handle, "w", encoding="ascii") as file:
                    file.write(f"{secrets.token_hex(32)}\n")
                    file.flush()
                    os.fsync(file.fileno())
                with contextlib.suppress(FileExistsError):
                    os.link(beside, path)
                    made = True
            finally:
                Path(beside).unlink()
        key = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise Misconfigured("the key of `extract.redact` cannot be read", where=str(path), why=why) from None
    if len(key) < _LEAST:
        raise Misconfigured(
            "the key of `extract.redact` is damaged", where=str(path), fix=f"bring it back, or set {KEY}"
        )
    return key.encode(), made
