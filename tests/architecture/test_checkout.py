"""A checkout works anywhere: no machine's paths, no registry's address, no secret, pinned locks, true docs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest

# spelled apart, so that this file does not hold what it looks for
MACHINE = re.compile(r"(?:^|[\s\"'=(:])/(?:ho" + r"me|ro" + r"ot|wo" + r"rk|Us" + r"ers)/\w", re.MULTILINE)
REGISTRY = re.compile(r"files\.pythonho" + r"sted|py" + r"pi\.org/simple|--(?:extra-)?index" + r"-url")
SECRET = re.compile(r"\b(?:sk-[A-Za-z0-9]{20,}|AK" + r"IA[0-9A-Z]{16}|gh" + r"p_[A-Za-z0-9]{30,})")
LOCKS = ("requirements.lock", "requirements-dev.lock")


@pytest.mark.parametrize("unwanted", [MACHINE, REGISTRY, SECRET], ids=["paths", "registries", "secrets"])
def test_no_file_holds_what_belongs_to_one_machine(texts, unwanted):
    found = {name: match[0] for name, text in texts.items() if (match := unwanted.search(text))}
    assert not found


def test_locks_pin_every_package_once(root):
    pins = []
    for lock in LOCKS:
        lines = (root / lock).read_text(encoding="utf-8").splitlines()
        pins += [line for line in lines if line and not line.startswith(("#", "-r "))]
    assert [pin for pin in pins if not re.fullmatch(r"[\w.\-]+==[\w.]+", pin)] == []
    names = [pin.partition("==")[0] for pin in pins]
    assert len(names) == len(set(names))


def test_lock_has_every_package_that_the_project_needs(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    needed = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["ui"]
    locked = re.findall(r"^([\w.\-]+)==", (root / LOCKS[0]).read_text(encoding="utf-8"), re.MULTILINE)
    assert {normal(re.match(r"[\w.\-]+", line)[0]) for line in needed} <= {normal(name) for name in locked}


def test_the_oldest_dagster_that_is_allowed_is_the_one_that_is_tested(root):
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    allowed = dict(re.findall(r'"(dagster[\w-]*)>=([\d.]+)', text))
    pins = (root / ".ci" / "oldest.txt").read_text(encoding="utf-8")
    tested = dict(re.findall(r"^(dagster[\w-]*)==([\d.]+)$", pins, re.MULTILINE))
    assert {"dagster", "dagster-webserver", "dagster-postgres"} <= set(allowed)
    assert allowed.items() <= tested.items()


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_reference_is_what_the_code_says(root):
    checked = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=root, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_contributing_names_every_room(root):
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    package = root / "loom_dagster"
    rooms = [p.name for p in package.iterdir() if p.is_dir() and p.name != "__pycache__"]
    modules = [p.stem for p in package.glob("*.py") if p.stem != "__init__"]
    missing = [room for room in rooms if f"`{room}/`" not in text]
    missing += [module for module in modules if f"`{module}`" not in text]
    assert not missing


def test_definitions_fit_in_ten_lines(root):
    lines = (root / "definitions.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 10
