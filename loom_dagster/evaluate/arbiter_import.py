"""Imports arbiter_ai (with litellm and pydantic-ai, 5 s) without what that does on the side.

Imported plainly it fetches a price list over the network, loads the nearest ``.env`` into the
environment, and sends traces away when it finds LOGFIRE_TOKEN.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import warnings
from types import ModuleType

from loom_dagster.errors import Misconfigured

__all__ = ["ArbiterImport", "import_arbiter"]

_QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHON_DOTENV_DISABLED": "1"}
_HIDDEN = ("LOGFIRE_TOKEN",)
_ONE_AT_A_TIME = threading.Lock()  # the environment and sys.modules are the process's


class ArbiterImport:
    """The import, once and in a thread, for all who wait for it. Belongs to one event loop."""

    def __init__(self) -> None:
        self._importing: asyncio.Task[ModuleType] | None = None

    async def module(self) -> ModuleType:
        """``arbiter_ai``. Raises Misconfigured when it cannot be imported."""
        if self._importing is None:
            self._importing = asyncio.ensure_future(asyncio.to_thread(import_arbiter))
        return await asyncio.shield(self._importing)


def import_arbiter() -> ModuleType:
    """``arbiter_ai``, its logger silenced: what it would log is in the scores."""
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = {name: os.environ.pop(name, None) for name in (*_QUIET, *_HIDDEN)}
        os.environ.update(_QUIET)
        try:
            import arbiter_ai
        except ImportError as error:
            raise Misconfigured(
                "arbiter-ai cannot be imported", why=str(error), fix="pip install 'arbiter-ai>=0.2,<0.3'"
            ) from error
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
    logging.getLogger("arbiter").setLevel(logging.CRITICAL + 1)
    return arbiter_ai
