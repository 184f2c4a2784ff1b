"""One test file, read: its suite, and where in the file everything stands."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from loom_dagster.errors import Misconfigured, Problem
from loom_dagster.spec.explain import explain
from loom_dagster.spec.files import read_text, shown_path
from loom_dagster.spec.findings import Finding, as_problems, refusal
from loom_dagster.spec.reader import Document, read_yaml
from loom_dagster.spec.suites import Suite

__all__ = ["SECTIONS", "SuiteFile", "read_suite", "suite_paths", "written_pipeline"]

SECTIONS = ("unit_tests", "distributional_tests", "integration_tests")
_PIPELINE_LINE = re.compile(r"^pipeline[ \t]*:[ \t]*([\"']?)(.+?)\1[ \t]*(?:#.*)?$", re.MULTILINE)
_ENDINGS = ("_test.yaml", "_test.yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteFile:
    """A test file without errors. ``path`` is absolute; ``file`` is how it is shown."""

    spec: Suite
    path: Path
    document: Document = field(repr=False)

    @property
    def file(self) -> str:
        return self.document.file

    def where(self, *loc: str | int) -> str:
        """``tests/x_test.yaml:12``: the best known line for a place like ("unit_tests", 0, "input")."""
        return self.document.where(*loc)


def suite_paths(root: Path) -> list[Path]:
    """The test files of the project at ``root``, sorted."""
    found = (p for ending in _ENDINGS for p in (root / "tests").rglob(f"*{ending}"))
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(root).parts))


def written_pipeline(path: Path) -> str | None:
    """The pipeline that a test file says it is for, also one with problems; None when it says none."""
    try:
        match = _PIPELINE_LINE.search(path.read_text(encoding="utf-8-sig", errors="replace"))
    except OSError:
        return None
    return match[2] if match else None


def read_suite(path: Path, root: Path) -> SuiteFile:
    """The suite in a file of the project at ``root``. Raises Misconfigured with every problem of the file."""
    try:
        text = read_text(path, root)
    except Misconfigured as error:
        raise refusal([Problem(what=error.what, where=error.where, fix=error.fix)], "") from error
    file = shown_path(path, root)
    if not text.strip():
        problem = Problem(
            what="is empty", where=file, fix=f"a test file has `pipeline` and {', '.join(SECTIONS)}"
        )
        raise refusal([problem], "")
    document = read_yaml(text, file=file)
    findings = list(document.findings)
    spec = None
    try:
        spec = Suite.model_validate(document.tree)
    except ValidationError as error:
        findings += explain(error, Suite, document)
        with suppress(ValidationError):  # only unknown keys: the rest can be checked all the same
            spec = Suite.model_validate(document.tree, extra="ignore")
    if spec is not None:
        findings += _twice(document)
    problems = as_problems(file, findings)
    if spec is None or problems:
        raise refusal(problems, f"{file} is not a test file that can run")
    return SuiteFile(spec=spec, path=path, document=document)


def _twice(document: Document) -> Iterator[Finding]:
    """Names stand for a test in reports and for what pytest remembers of it."""
    if not any(document.tree.get(section) for section in SECTIONS):
        yield Finding(1, "there are no tests in it", f"write {', '.join(SECTIONS)}")
    lines: defaultdict[str, list[int]] = defaultdict(list)
    for section in SECTIONS:
        for index, test in enumerate(document.tree.get(section) or ()):
            lines[str(test["name"])].append(document.line(section, index, "name"))
    for name, at in lines.items():
        for line in at[1:]:
            what = f"another test is called `{name}`, at line {at[0]}"
            yield Finding(line, what, "give each a name of its own")
