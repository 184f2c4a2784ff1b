"""A run's till as its node opens and closes it."""

from __future__ import annotations

import os
from pathlib import Path

from loom_dagster.assembly.nodes import RunTills
from loom_dagster.ledger import Budgets, Ledger
from loom_dagster.ledger.exchange import Message
from loom_dagster.ledger.process import this_process
from loom_dagster.settings import load_settings


def open_files(folder):
    return [f for f in map(os.path.realpath, Path("/proc/self/fd").iterdir()) if f.startswith(str(folder))]


async def test_one_that_is_closed_leaves_no_file_open(tmp_path):
    settings = load_settings(tmp_path, {})
    with Ledger(settings.state_dir / "ledger.sqlite") as ledger:
        handle = ledger.begin_run("reviews", "", "f")
    tills = RunTills(settings=settings, handle=handle, budgets=Budgets(), owner=this_process())
    async with tills.open() as till:
        await till.exchange("w1", tuple(Message(1, demands=(("tpm", 10, 0, 5),))))
        assert any("ledger.sqlite" in name for name in open_files(settings.state_dir))
    assert open_files(settings.state_dir) == []
