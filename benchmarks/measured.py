"""Runs a command in a process of its own and prints what it took, as one line of JSON.

    python benchmarks/measured.py FOLDER COMMAND...

FOLDER is where it runs and where its ``stdout`` and ``stderr`` go. Linux counts the memory of a process that
starts another into the peak of the new one, so a small process has to start what is measured: this one
imports nothing heavy. CPU and peak memory are those that wait4 reports: of the process and of the children it waited for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    folder, command = Path(sys.argv[1]), sys.argv[2:]
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        started = time.monotonic()
        child = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        _, status, used = os.wait4(child.pid, 0)
        ended = time.monotonic()
    kilobyte = 1 if sys.platform == "darwin" else 1024
    took = {
        "exit_code": os.waitstatus_to_exitcode(status),
        "started": started,
        "wall": ended - started,
        "cpu": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss * kilobyte / 1e6,
    }
    print(json.dumps(took))


main()
