"""What the project remembers: its runs, its verdicts, its quarantine, and every answer it has paid for.

Names are looked up when they are used, so that importing this room does not import a database.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from loom_dagster.ledger.address import answers_address, ledger_address
from loom_dagster.ledger.alert_rows import (
    AlertRow,
    ChannelRow,
    Delivery,
    Fault,
    Findings,
    MuteRow,
)
from loom_dagster.ledger.process import this_process
from loom_dagster.ledger.rows import (
    Budgets,
    BudgetUse,
    IndexRow,
    PastRun,
    PipelineTotals,
    QuarantineEntry,
    RunHandle,
    RunNumbers,
    RunRow,
    SnapshotPlace,
    SnapshotRow,
    Standing,
    VersionRow,
    WatermarkRow,
)

if TYPE_CHECKING:
    from loom_dagster.ledger.answer_place import AnswerPlace, Answers, place_of_answers
    from loom_dagster.ledger.answers import AnswerLog
    from loom_dagster.ledger.audit import Audit, AuditRow, Deed, Tampering
    from loom_dagster.ledger.batch_tables import BatchRow
    from loom_dagster.ledger.batches import Batches
    from loom_dagster.ledger.deliveries import Claim, Deliveries
    from loom_dagster.ledger.leases import Taken
    from loom_dagster.ledger.ledger import Ledger
    from loom_dagster.ledger.outbox import Outbox
    from loom_dagster.ledger.retention import OpenRun, Retention, Slot
    from loom_dagster.ledger.spend_log import SpendLog
    from loom_dagster.ledger.spool import Spool, Spooled
    from loom_dagster.ledger.upkeep import AnswerGroup, Selection, Upkeep

__all__ = [
    "AlertRow",
    "AnswerGroup",
    "AnswerLog",
    "AnswerPlace",
    "Answers",
    "Audit",
    "AuditRow",
    "BatchRow",
    "Batches",
    "BudgetUse",
    "Budgets",
    "ChannelRow",
    "Claim",
    "Deed",
    "Deliveries",
    "Delivery",
    "Fault",
    "Findings",
    "IndexRow",
    "Ledger",
    "MuteRow",
    "OpenRun",
    "Outbox",
    "PastRun",
    "PipelineTotals",
    "QuarantineEntry",
    "Retention",
    "RunHandle",
    "RunNumbers",
    "RunRow",
    "Selection",
    "Slot",
    "SnapshotPlace",
    "SnapshotRow",
    "SpendLog",
    "Spool",
    "Spooled",
    "Standing",
    "Taken",
    "Tampering",
    "Upkeep",
    "VersionRow",
    "WatermarkRow",
    "answers_address",
    "ledger_address",
    "place_of_answers",
    "this_process",
]

_LATE = {
    "AnswerGroup": "upkeep",
    "AnswerLog": "answers",
    "AnswerPlace": "answer_place",
    "Answers": "answer_place",
    "Audit": "audit",
    "AuditRow": "audit",
    "BatchRow": "batch_tables",
    "Batches": "batches",
    "Claim": "deliveries",
    "Deed": "audit",
    "Deliveries": "deliveries",
    "Ledger": "ledger",
    "OpenRun": "retention",
    "Outbox": "outbox",
    "Retention": "retention",
    "Selection": "upkeep",
    "Slot": "retention",
    "SpendLog": "spend_log",
    "Spool": "spool",
    "Spooled": "spool",
    "Taken": "leases",
    "Tampering": "audit",
    "Upkeep": "upkeep",
    "place_of_answers": "answer_place",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
