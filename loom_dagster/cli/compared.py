"""The page of ``loom test --baseline``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from loom_dagster.cli.exits import FAILED, OK
from loom_dagster.cli.figures import release_name
from loom_dagster.cli.output import emit
from loom_dagster.cli.terminal import Sign, Terminal
from loom_dagster.cli.tested import Ran, calls_words
from loom_dagster.prompt_tests.compared_words import changed_words, compared_document, compared_words
from loom_dagster.prompt_tests.verdicts import Change, Compared, Comparison

__all__ = ["run_compared"]

_SIGNS: dict[Comparison, Sign] = {
    Comparison.WORSE: "bad",
    Comparison.BETTER: "good",
    Comparison.SAME: "good",
}


def run_compared(ran: Sequence[Ran], baseline: str, *, as_json: bool) -> int:
    """Each suite with its ``baseline``. 1 where something is shown to be worse: one case that flickers shows nothing."""
    terminal = Terminal(sys.stderr if as_json else sys.stdout)
    suites, passed = [], True
    for number, each in enumerate(ran):
        bench = each.bench
        if not as_json:
            if number:
                terminal.line()
            terminal.line(f"Comparing: {bench.name}{release_name(bench.version)} with {baseline}", "bold")
        try:
            found = bench.compare(each.chosen, baseline)
        finally:
            if bench.records:
                bench.answering.recording.write(whole=False)
            bench.close()
        passed &= all(compared.passed for compared in found)
        document = {"file": bench.suite.file, "pipeline": bench.name, "version": bench.version}
        suites.append({**document, "comparisons": [compared_document(compared) for compared in found]})
        if not as_json:
            for compared in found:
                _show(compared, terminal)
            terminal.line()
            terminal.line(calls_words(each))
    code = OK if passed else FAILED
    if as_json:
        emit({"suites": suites, "exit_code": code})
    else:
        terminal.line(
            "Not worse than the baseline" if passed else "Worse than the baseline",
            "green" if passed else "red",
        )
    return code


def _show(compared: Compared, terminal: Terminal) -> None:
    """What came of one comparison, then what got worse and better."""
    terminal.line()
    terminal.line(f"{compared.of[:1].upper()}{compared.of[1:]} against {compared.baseline}:", "bold")
    blind = compared.verdict is Comparison.SAME and all(t.detectable is None for t in compared.tests)
    sign = terminal.sign("warn" if blind else _SIGNS[compared.verdict])
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
