"""What the project remembers: its runs, its verdicts, its quarantine, and every answer it has paid for.

Names are looked up when they are used, so that importing this room does not import a database.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from loom_dagster.ledger.address import ledger_address
from loom_dagster.ledger.alert_rows import (
    AlertRow,
    ChannelRow,
    Delivery,
    Fault,
    Findings,
    MuteRow,
)
from loom_dagster.ledger.rows import (
    Budgets,
    BudgetUse,
    IndexRow,
    PastRun,
    QuarantineEntry,
    RunHandle,
    RunRow,
    SnapshotRow,
    VersionRow,
    WatermarkRow,
)

if TYPE_CHECKING:
    from loom_dagster.ledger.answers import AnswerLog
    from loom_dagster.ledger.batch_tables import BatchRow
    from loom_dagster.ledger.batches import Batches
    from loom_dagster.ledger.deliveries import Claim, Deliveries
    from loom_dagster.ledger.ledger import Ledger
    from loom_dagster.ledger.outbox import Outbox
    from loom_dagster.ledger.spend_log import SpendLog
    from loom_dagster.ledger.spool import Spool, Spooled

__all__ = [
    "AlertRow",
    "AnswerLog",
    "BatchRow",
    "Batches",
    "BudgetUse",
    "Budgets",
    "ChannelRow",
    "Claim",
    "Deliveries",
    "Delivery",
    "Fault",
    "Findings",
    "IndexRow",
    "Ledger",
    "MuteRow",
    "Outbox",
    "PastRun",
    "QuarantineEntry",
    "RunHandle",
    "RunRow",
    "SnapshotRow",
    "SpendLog",
    "Spool",
    "Spooled",
    "VersionRow",
    "WatermarkRow",
    "ledger_address",
]

_LATE = {
    "AnswerLog": "answers",
    "BatchRow": "batch_tables",
    "Batches": "batches",
    "Claim": "deliveries",
    "Deliveries": "deliveries",
    "Ledger": "ledger",
    "Outbox": "outbox",
    "SpendLog": "spend_log",
    "Spool": "spool",
    "Spooled": "spool",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
