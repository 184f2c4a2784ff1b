"""Keeps out of a run without Dagster what it does not need and would import all the same."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["arrow_without_pandas", "keep_imports"]


class _NoPandas(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "pandas":
            raise ModuleNotFoundError("not looked for", name=fullname)
        return None


def arrow_without_pandas() -> None:
    """Have pyarrow look for pandas while there is none: it does so once, at its first array, and would
    import it (0.3 s, 35 MB) to recognise its objects. What converts to pandas still imports it later.

    To be called before there are other threads.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa  # heavy, as in every command

    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([])
    finally:
        sys.meta_path.remove(finder)


def keep_imports() -> None:
    """Modules live as long as the process: the garbage collector need not walk through them all the
    time, which took a tenth of the CPU of a run from the answer store."""
    gc.freeze()
