"""``loom test``: what prompts are expected to do, held against what they do."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loom_dagster.cli.options import AsJson, ProjectDir, open_loom
from loom_dagster.cli.output import emit
from loom_dagster.cli.terminal import Terminal
from loom_dagster.errors import Misconfigured, Problem

if TYPE_CHECKING:
    from loom_dagster.assembly import Loom
    from loom_dagster.assembly.answering import BenchOptions
    from loom_dagster.assembly.bench import Bench
    from loom_dagster.cli.tested import Ran
    from loom_dagster.prompt_tests.items import Item

__all__ = ["run_tests"]


def run_tests(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Pipelines to test; default: all with tests."),
    ] = None,
    words: Annotated[
        str | None, typer.Option("-k", metavar="TEXT", help="Tests whose name has TEXT.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="Tests with this tag; repeatable.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ask everything anew, and keep the answers.")
    ] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Keep the answers in tests/recordings/, for --replay.")
    ] = False,
    replay: Annotated[
        bool, typer.Option("--replay", help="Answers from tests/recordings/ only: no key, no network.")
    ] = False,
    budget: Annotated[
        float | None,
        typer.Option(metavar="USD", min=0.0, help="The most to spend, instead of the suites' own."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|GIT_REF",
            help="Compare with a run, or with the pipeline at a commit: fails when it got worse.",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="M", help="With another model.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="With simulated answers, free.")] = False,
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Test prompts: cases, samples and whole pipelines, from the files in tests/."""
    from loom_dagster.assembly.answering import BenchOptions
    from loom_dagster.cli.compared import run_compared

    options = BenchOptions(
        fresh=fresh,
        record=record,
        replay=replay,
        budget=budget,
        model=model,
        offline=offline,
        shared=uuid.uuid4().hex,
    )
    loom = open_loom(project)
    paths = _paths(loom, names or [])
    with ExitStack() as stack:
        ran = _chosen(loom, paths, options, stack, lambda item: item.chosen(words, tag or []))
        if baseline is not None:
            return run_compared(ran, baseline, as_json=as_json)
        return _test(ran, as_json=as_json)


def _chosen(
    loom: Loom,
    paths: Sequence[Path],
    options: BenchOptions,
    stack: ExitStack,
    wanted: Callable[[Item], bool],
) -> list[Ran]:
    """The suites that have something to run, each checked. Raises Misconfigured."""
    from loom_dagster.cli.light import arrow_without_pandas
    from loom_dagster.cli.tested import Ran

    arrow_without_pandas()
    ran = [
        Ran(bench=bench, chosen=[item for item in bench.items if wanted(item)])
        for bench in _opened(loom, paths, options, stack)
    ]
    ran = [each for each in ran if each.chosen]
    if not ran:
        raise Misconfigured("no test is chosen", why="-k and --tag leave out every one")
    for each in ran:
        for item in each.chosen:
            each.bench.check(item)
    return ran


def _test(ran: Sequence[Ran], *, as_json: bool) -> int:
    from loom_dagster.cli.tested import document

    terminal = Terminal(sys.stderr if as_json else sys.stdout)
    for number, each in enumerate(ran):
        if number and not as_json:
            terminal.line()
        _run(each, terminal, as_json=as_json)
    if as_json:
        emit(document(ran))
    return max(each.exit_code for each in ran)


def _run(ran: Ran, terminal: Terminal, *, as_json: bool) -> None:
    """All tests at once, shown in their order. What was answered is kept, however it ends."""
    from loom_dagster.cli.tested import show_ended, show_suite

    bench = ran.bench
    show = None if as_json else show_suite(bench, terminal)
    try:
        for item, coming in [(item, bench.submit(item)) for item in ran.chosen]:
            result = coming.result()
            ran.results.append((item, result))
            if show is not None:
                show(item, result)
    finally:
        if bench.records:
            bench.answering.recording.write(whole=ran.whole)
        if show is not None:
            show_ended(ran, terminal)
        bench.close()


def _paths(loom: Loom, names: list[str]) -> list[Path]:
    """The test files of the pipelines ``names``, or all. Raises Misconfigured when there are none."""
    from loom_dagster.spec.suite_file import suite_paths, written_pipeline

    every = suite_paths(loom.settings.root)
    if not names:
        if not every:
            what = "there are no tests: no file tests/NAME_test.yaml"
            raise Misconfigured(
                what, where=str(loom.settings.root), fix="see docs/testing.md for a first one"
            )
        return every
    found = []
    for name in dict.fromkeys(names):
        own = [path for path in every if written_pipeline(path) == name]
        if not own:
            if name not in loom.project.names:
                loom.project.pipeline(name)  # raises, with the nearest name
            raise Misconfigured(
                f"`{name}` has no tests", fix=f"write tests/{name}_test.yaml, with `pipeline: {name}`"
            )
        found += own
    return found


def _opened(loom: Loom, paths: Sequence[Path], options: BenchOptions, stack: ExitStack) -> list[Bench]:
    """Every suite, or Misconfigured with the problems of all."""
    from loom_dagster.assembly.bench import Bench

    benches, problems, failed = list[Bench](), list[Problem](), list[Misconfigured]()
    for path in paths:
        try:
            benches.append(stack.enter_context(Bench(loom, path, options)))
        except Misconfigured as error:
            failed.append(error)
            problems += error.problems or (Problem(what=error.what, where=error.where, fix=error.fix),)
    if len(failed) == 1:
        raise failed[0]
    if failed:
        raise Misconfigured(f"{len(failed)} test files cannot be run", problems=tuple(problems))
    return benches
