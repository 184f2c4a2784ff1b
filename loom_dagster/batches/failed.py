"""What a batch said of a question that it did not answer, as it is kept and raised again."""

from __future__ import annotations

import orjson

from loom_dagster.errors import LoomError, Permanent, Transient

__all__ = ["error_of", "text_of"]


def text_of(error: LoomError) -> str:
    """As JSON. Everything but Permanent is worth another try."""
    final = isinstance(error, Permanent)
    parts = {"final": final, "kind": error.kind, "what": error.what, "why": error.why, "fix": error.fix}
    return orjson.dumps(parts).decode()


def error_of(text: str | None, *, tries: int) -> Transient | Permanent:
    """The error; that of a question that got no word at all says so."""
    if text is None:
        return Transient(f"no answer came in {tries} batches", kind="missing")
    said = orjson.loads(text)
    kind = Permanent if said["final"] else Transient
    return kind(said["what"], why=said["why"], fix=said["fix"], kind=said["kind"])
