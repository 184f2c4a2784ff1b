"""Results as Markdown, with the day, the machine and the command."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.setting import Row

__all__ = ["Table", "heading"]


@dataclass(frozen=True, kw_only=True)
class Table:
    """``columns`` maps what a row calls a value to (its heading, how it is formatted)."""

    title: str
    text: str
    columns: dict[str, tuple[str, str]]
    rows: Sequence[Row]

    def markdown(self) -> str:
        lines = [f"### {self.title}", "", self.text, ""]
        lines.append("| " + " | ".join(["", *(title for title, _ in self.columns.values())]) + " |")
        lines.append("|---" * (len(self.columns) + 1) + "|")
        for row in self.rows:
            cells = [f"{row[key]:{how}}" if key in row else "" for key, (_, how) in self.columns.items()]
            if "reason" in row:
                cells = [f"not measured: {row['reason']}".replace("|", "/"), *[""] * (len(self.columns) - 1)]
            lines.append("| " + " | ".join([str(row["contestant"]), *cells]) + " |")
        return "\n".join([*lines, ""])


def heading(arguments: Sequence[str], module: str = "benchmarks.compare") -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = (
        f"{os.cpu_count()} cores, {memory:.0f} GB, {platform.system()}, Python {platform.python_version()}"
    )
    command = shlex.join(["python", "-m", module, *arguments])
    return f"## {datetime.now(UTC):%Y-%m-%d}, {machine}\n\n`{command}`\n"
