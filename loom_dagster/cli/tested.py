"""The page of ``loom test``: a line for each thing that was tested, and why what failed did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from loom_dagster.assembly.handed_over import unused_words
from loom_dagster.cli.exits import FAILED, OK
from loom_dagster.cli.figures import counted, dollars, release_name
from loom_dagster.cli.terminal import Sign, Terminal
from loom_dagster.prompt_tests.items import SECTIONS, Item, Result
from loom_dagster.prompt_tests.running import CaseResult
from loom_dagster.prompt_tests.words import Said, badness, lines_of, reasons_of, remarks_of

if TYPE_CHECKING:
    from loom_dagster.assembly.bench import Bench

__all__ = ["Ran", "calls_words", "document", "show_ended", "show_suite"]

_SIGNS: dict[Said, Sign] = {"passed": "good", "failed": "bad", "undecided": "warn"}


@dataclass(slots=True, kw_only=True)
class Ran:
    """A suite and what came of the tests ``chosen`` of it, so far."""

    bench: Bench
    chosen: Sequence[Item]
    results: list[tuple[Item, Result]] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether every test of the suite was run and answered: what was not asked for now is not asked for at all."""
        return len(self.results) == len(self.bench.items) and all(r.answered for _, r in self.results)

    @property
    def passed(self) -> bool:
        return len(self.results) == len(self.chosen) and all(result.passed for _, result in self.results)

    @property
    def exit_code(self) -> int:
        return OK if self.passed else FAILED

    @property
    def warnings(self) -> list[str]:
        """What does not fail a test, and should be known."""
        answering = self.bench.answering
        unused = unused_words(answering.recording) if self.bench.replays and self.whole else []
        found = [*answering.notes, *unused]
        return [*found, *(remark for _, result in self.results for remark in remarks_of(result))]


def show_suite(bench: Bench, terminal: Terminal) -> Callable[[Item, Result], None]:
    """The head of a suite's page; what is returned shows one result after the other."""
    terminal.line(f"Running tests for: {bench.name}{release_name(bench.version)}", "bold")
    section = ""

    def show(item: Item, result: Result) -> None:
        nonlocal section
        if item.section != section:
            section = item.section
            terminal.line()
            terminal.line(f"{SECTIONS[item.section]}:", "bold")
        for line in lines_of(result):
            terminal.paragraph(line.text, first=f"  {terminal.sign(_SIGNS[line.said])} ", rest="     ")

    return show


def show_ended(ran: Ran, terminal: Terminal) -> None:
    """What failed, worst first; what else there is to know; the sum."""
    failed = sorted(((i, r) for i, r in ran.results if not r.passed), key=lambda pair: badness(pair[1]))
    if failed:
        terminal.line()
        terminal.line(f"Failed{', worst first' if len(failed) > 1 else ''}:", "bold")
    for item, result in failed:
        terminal.paragraph(f"{item.name} ({item.where})", first=f"  {terminal.sign('bad')} ", rest="     ")
        for reason in reasons_of(result):
            terminal.paragraph(reason, first="       ", rest="         ")
    terminal.line()
    for warning in ran.warnings:
        terminal.paragraph(warning, first=f"{terminal.sign('warn')} ", rest="   ")
    terminal.line(calls_words(ran))
    said = [line.said for _, result in ran.results for line in lines_of(result)]
    passed = said.count("passed")
    left = len(ran.chosen) - len(ran.results)
    if ran.passed:
        terminal.line(f"All tests passed ({passed}/{len(said)})", "green")
    elif left:
        terminal.line(f"Stopped: {counted(left, 'test')} not run, {len(failed)} failed", "red")
    else:
        terminal.line(f"{counted(len(said) - passed, 'test')} failed ({passed}/{len(said)} passed)", "red")


def calls_words(ran: Ran) -> str:
    """What was paid, in a line."""
    paid, bench = ran.bench.answering.paid, ran.bench
    if bench.replays:
        return f"Answers: {bench.answering.recording.answers_used:,} from {bench.answering.recording.shown}"
    parts = [f"{counted(paid.calls, 'call')} paid, {paid.reused:,} reused, {dollars(paid.cost)}"]
    if paid.unpriced:
        parts.append(f"{paid.unpriced:,} of unknown price")
    if paid.simulated:
        parts.append("simulated answers")
    if bench.records:
        parts.append(f"recorded in {bench.answering.recording.shown}")
    return f"Answers: {'; '.join(parts)}"


def document(ran: Sequence[Ran]) -> dict[str, Any]:
    """For ``--json``."""
    return {
        "suites": [
            {
                "file": each.bench.suite.file,
                "pipeline": each.bench.name,
                "version": each.bench.version,
                "passed": each.passed,
                "not_run": len(each.chosen) - len(each.results),
                "tests": [_result(item, result) for item, result in each.results],
                "warnings": each.warnings,
                "answers": asdict(each.bench.answering.paid),
            }
            for each in ran
        ],
        "exit_code": max(each.exit_code for each in ran),
    }


def _result(item: Item, result: Result) -> dict[str, Any]:
    document: dict[str, Any] = {
        "section": item.section,
        "name": item.name,
        "where": item.where,
        "tags": item.tags,
        "passed": result.passed,
        "lines": [{"result": line.said, "text": line.text} for line in lines_of(result)],
        "reasons": reasons_of(result),
    }
    if isinstance(result, CaseResult):
        document |= {
            "score": result.score,
            "repeat": result.case.repeat,
            "right": result.right,
            "needed": result.case.needed,
            "answers": result.seen,
        }
    return document
