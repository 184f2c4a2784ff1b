"""Exit codes, and how a command that cannot go on says so. The one place for both."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any

from loom_dagster.cli.output import emit
from loom_dagster.cli.terminal import Terminal
from loom_dagster.errors import LoomError, Misconfigured, Problem

__all__ = [
    "CRASHED",
    "FAILED",
    "INTERRUPTED",
    "MISUSED",
    "OK",
    "Abandoned",
    "error_document",
    "exit_code_of",
    "problem_document",
    "report_crash",
    "report_error",
    "report_interrupt",
    "report_usage",
    "show_error",
]

OK = 0  # all promises kept
FAILED = 1  # a gate, the budget or conservation failed
MISUSED = 2  # wrong input or configuration
CRASHED = 70  # a bug in loom (EX_SOFTWARE of sysexits.h)
INTERRUPTED = 130  # by Ctrl-C or SIGTERM; the run can be continued

# disk full, over quota, read-only, too many files, a device that fails: no bug of ours
_MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EIO})


class Abandoned(KeyboardInterrupt):
    """The user asked twice: work in other threads is not waited for."""


def exit_code_of(error: LoomError) -> int:
    """By class: what the user has to change is 2, what went wrong outside is 1."""
    return MISUSED if isinstance(error, Misconfigured) else FAILED


def error_document(error: LoomError) -> dict[str, Any]:
    """For ``--json``: the error and every problem it carries."""
    problems = error.problems if isinstance(error, Misconfigured) else ()
    return {
        "kind": error.kind,
        "message": error.sentence(),
        "where": error.where,
        "fix": error.fix,
        "problems": [problem_document(p) for p in problems],
        "exit_code": exit_code_of(error),
    }


def problem_document(problem: Problem) -> dict[str, Any]:
    """For ``--json``."""
    what = f"{problem.what}: {problem.said}" if problem.said else problem.what
    return {"level": problem.level, "where": problem.where, "what": what, "fix": problem.fix}


def report_error(error: LoomError, *, as_json: bool) -> int:
    """An error raised on purpose: every problem on a line of its own, no traceback."""
    if as_json:
        emit({"error": error_document(error)})
        return exit_code_of(error)
    show_error(Terminal(sys.stderr), error)
    return exit_code_of(error)


def show_error(terminal: Terminal, error: LoomError) -> None:
    """Prints ``Error: ...`` and, for a Misconfigured that carries several, each problem."""
    problems = error.problems if isinstance(error, Misconfigured) else ()
    if len(problems) == 1 and str(problems[0]) == error.sentence():
        problems = ()
    terminal.paragraph(error.sentence(), first="Error: ", style="red")
    for problem in problems:
        sign = terminal.sign("warn" if problem.level == "warning" else "bad")
        terminal.paragraph(str(problem), first=f"  {sign} ", rest="     ")


def report_usage(message: str, usage: str, *, as_json: bool) -> int:
    """A command line that cannot be understood."""
    if as_json:
        emit({"error": {"kind": "usage", "message": message, "exit_code": MISUSED}})
        return MISUSED
    terminal = Terminal(sys.stderr)
    if message.startswith("Usage:"):  # a group without a command: its help is the answer
        usage = message
    else:
        terminal.paragraph(message, first="Error: ", style="red")
    for line in usage.splitlines():
        terminal.line(line)
    return MISUSED


def report_interrupt(*, as_json: bool) -> int:
    """Ctrl-C while nothing had to be kept, or the second one."""
    sentence = "interrupted; a run that was going on continues with the same command"
    if as_json:
        emit({"error": {"kind": "interrupted", "message": sentence, "exit_code": INTERRUPTED}})
    else:
        Terminal(sys.stderr).paragraph(sentence)
    return INTERRUPTED


def report_crash(error: BaseException, *, folder: Path | None, as_json: bool) -> int:
    """An error nobody raised on purpose. One sentence; the traceback goes to a file in ``folder``.

    A bug is CRASHED; a machine that gives up (disk full) is FAILED.
    """
    path = _write_crash(error, folder)
    by_machine = isinstance(error, OSError) and error.errno in _MACHINE
    code = FAILED if by_machine else CRASHED
    text = str(error).strip().splitlines()
    said = f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
    sentence = f"the machine gave up: {text[0]}" if by_machine else f"this is a bug in loom: {said}"
    if as_json:
        kind = "machine" if by_machine else "bug"
        emit({"error": {"kind": kind, "message": sentence, "traceback": path, "exit_code": code}})
        return code
    terminal = Terminal(sys.stderr)
    terminal.paragraph(sentence, first="Error: ", style="red")
    if path is not None:
        terminal.line(f"The traceback is in {path}")
    return code


def _write_crash(error: BaseException, folder: Path | None) -> str | None:
    name = f"crash-{datetime.now().astimezone():%Y%m%dT%H%M%S.%f}-{os.getpid()}.txt"
    text = "".join(traceback.format_exception(error))
    for place in (folder, Path(tempfile.gettempdir())):
        if place is None:
            continue
        try:
            place.mkdir(parents=True, exist_ok=True)
            handle = os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError:
            continue
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        return str(place / name)
    return None
