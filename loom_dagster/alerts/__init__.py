"""Alerts to people: who is told, what a message says, and how it gets there. What is wrong, others find out.

Names are looked up when they are used: a code location delivers nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from loom_dagster.alerts.routes import channels_for, routes_of

if TYPE_CHECKING:
    from loom_dagster.alerts.delivery import Delivered, deliver
    from loom_dagster.alerts.message import message_of, plain
    from loom_dagster.alerts.sending import send

__all__ = ["Delivered", "channels_for", "deliver", "message_of", "plain", "routes_of", "send"]

_LATE = {
    "Delivered": "delivery",
    "deliver": "delivery",
    "message_of": "message",
    "plain": "message",
    "send": "sending",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
