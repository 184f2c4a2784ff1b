"""The contracts in pyproject.toml ([tool.importlinter]) hold."""

from __future__ import annotations

LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"


def test_imports_go_down_only_and_heavy_libraries_keep_to_their_rooms(run_python):
    linted = run_python(LINT)
    assert linted.returncode == 0, linted.stdout + linted.stderr
