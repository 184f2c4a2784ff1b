"""Writes requirements.lock (what a user runs) and requirements-dev.lock (the rest: drivers, test tools).

Both come from one resolution of pyproject.toml, so that no version differs between them. Nothing is
installed here; addresses and hashes are left out, so that any mirror serves.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ["editables>=0.5", "hatchling>=1.27"]  # what an editable install needs without isolation
HEAD = "# Made by `make lock` from pyproject.toml; do not edit.\n"


def resolve(wanted: list[str], *, constraints: list[str]) -> list[str]:
    """`name==version` of everything that ``wanted`` needs, sorted."""
    with tempfile.TemporaryDirectory() as folder:
        held, report = Path(folder, "constraints.txt"), Path(folder, "report.json")
        held.write_text("\n".join(constraints), encoding="utf-8")
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"),
                *("--constraint", str(held), "--report", str(report), *wanted),
            ],
            cwd=ROOT,
            check=True,
        )
        found = [item["metadata"] for item in json.loads(report.read_text(encoding="utf-8"))["install"]]
    return sorted(f"{m['name'].lower()}=={m['version']}" for m in found if m["name"] != "loom-dagster")


def main() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]["dev"]
    everything = resolve([".[all]", *tools, *BUILD], constraints=[])
    runtime = resolve([".[ui]", *BUILD], constraints=everything)
    rest = [pin for pin in everything if pin not in runtime]
    (ROOT / "requirements.lock").write_text(HEAD + "\n".join(runtime) + "\n", encoding="utf-8")
    (ROOT / "requirements-dev.lock").write_text(
        HEAD + "-r requirements.lock\n" + "\n".join(rest) + "\n", encoding="utf-8"
    )
    print(f"requirements.lock: {len(runtime)} packages, requirements-dev.lock: {len(rest)} more")


if __name__ == "__main__":
    main()
