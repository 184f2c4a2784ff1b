"""The page of ``loom test --baseline``."""

from __future__ import annotations

from collections.abc import Sequence

from loom_dagster.cli.exits import FAILED, OK
from loom_dagster.cli.terminal import Sign, Terminal
from loom_dagster.prompt_tests.compared_words import changed_words, compared_words
from loom_dagster.prompt_tests.verdicts import Change, Compared, Comparison

__all__ = ["exit_code", "show_compared"]

_SIGNS: dict[Comparison, Sign] = {
    Comparison.WORSE: "bad",
    Comparison.BETTER: "good",
    Comparison.SAME: "good",
}


def exit_code(found: Sequence[Compared]) -> int:
    """1 where something is shown to be worse: one case that flickers shows nothing."""
    return OK if all(compared.passed for compared in found) else FAILED


def show_compared(compared: Compared, terminal: Terminal) -> None:
    """What came of one comparison, then what got worse and better."""
    terminal.line()
    terminal.line(f"{compared.of.capitalize()} against {compared.baseline}:", "bold")
    sign = terminal.sign(_SIGNS[compared.verdict])
    terminal.paragraph(compared.verdict.value, first=f"  {sign} ", rest="     ")
    for line in compared_words(compared):
        terminal.paragraph(line, first="     ", rest="       ")
    _changed("Worse", compared.worse, terminal)
    _changed("Better", compared.better, terminal)


def _changed(head: str, changes: Sequence[Change], terminal: Terminal) -> None:
    if not changes:
        return
    terminal.line(f"  {head}:", "bold")
    for name, lines in changed_words(changes):
        terminal.paragraph(name, first="     ", rest="       ")
        for line in lines:
            terminal.paragraph(line, first="       ", rest="               ")
