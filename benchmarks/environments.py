"""A virtual environment for each contestant, made when it is first needed from its pinned requirements.

They lie under benchmarks/.envs, or where LOOM_BENCH_ENVS says. A contestant without requirements (ours) runs
with the interpreter that runs the benchmark, compiled to bytecode as an installed package is.
"""

from __future__ import annotations

import compileall
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["CONTESTANTS", "Unavailable", "interpreter"]

ROOT = Path(__file__).parents[1]
CONTESTANTS = Path(__file__).parent / "contestants"


class Unavailable(Exception):
    """A contestant, or what a scenario needs, cannot be had here; the message says why."""


def interpreter(name: str) -> str:
    """The Python of the contestant ``name``, with what it needs. Raises Unavailable."""
    requirements = CONTESTANTS / name / "requirements.txt"
    if not requirements.exists():
        compileall.compile_dir(ROOT / "loom_dagster", quiet=1)
        return sys.executable
    folder = Path(os.environ.get("LOOM_BENCH_ENVS") or Path(__file__).parent / ".envs").absolute() / name
    python, installed = folder / "bin" / "python", folder / "installed.txt"
    wanted = requirements.read_text()
    if not (python.exists() and installed.exists() and installed.read_text() == wanted):
        print(f"making an environment for {name}", file=sys.stderr)
        run([sys.executable, "-m", "venv", str(folder)])
        run(
            [
                str(python),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "-r",
                str(requirements),
            ]
        )
        installed.write_text(wanted)
    return str(python)


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise Unavailable(f"not installed: {' '.join(last)}")
