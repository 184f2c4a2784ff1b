"""Prompt tests as pytest items: every ``*_test.yaml`` that names a pipeline is collected, each case is an item.

This module is imported by every pytest that runs where loom_dagster is installed: it imports nothing but pytest until
it meets a test file of ours.
"""

from __future__ import annotations

import concurrent.futures
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from loom_dagster.assembly import Loom
    from loom_dagster.assembly.bench import Bench
    from loom_dagster.errors import LoomError
    from loom_dagster.prompt_tests.items import Item, Result

__all__ = ["LoomItem", "LoomSuite"]

_ENDINGS = ("_test.yaml", "_test.yml")
_OURS = (
    re.compile(r"^pipeline[ \t]*:", re.MULTILINE),
    re.compile(r"^(unit|distributional|integration)_tests[ \t]*:", re.MULTILINE),
)
_OUTPUT = "loom"  # under which a worker of xdist hands over what it did


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("loom", "prompt tests of loom_dagster")
    group.addoption("--loom-fresh", action="store_true", help="ask everything anew, and keep the answers")
    group.addoption(
        "--loom-record", action="store_true", help="keep the answers in tests/recordings/, for --loom-replay"
    )
    group.addoption(
        "--loom-replay", action="store_true", help="answers from tests/recordings/ only: no key, no network"
    )
    group.addoption("--loom-budget", type=float, metavar="USD", help="the most to spend")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SESSION] = session = _Session(config)
    config.pluginmanager.register(session, "loom-session")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> LoomSuite | None:
    if not file_path.name.endswith(_ENDINGS):
        return None
    try:
        text = file_path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:  # what cannot be read is not ours to complain about
        return None
    if not all(pattern.search(text) for pattern in _OURS) or not _in_project(file_path):
        return None
    return LoomSuite.from_parent(parent, path=file_path)


def _in_project(path: Path) -> bool:
    """Elsewhere a file that looks like one of ours belongs to somebody else."""
    from loom_dagster.errors import LoomError
    from loom_dagster.settings import find_project

    try:
        find_project(path.parent)
    except LoomError:
        return False
    return True


class Failed(Exception):
    """A test that did not pass, in words."""


class LoomSuite(pytest.File):
    """One test file."""

    def collect(self) -> Iterator[LoomItem]:
        from loom_dagster.errors import LoomError

        session = self.config.stash[_SESSION]
        try:
            bench = session.opened(self.path)
        except LoomError as error:
            raise self.CollectError(_words(error)) from None
        for item in bench.items:
            yield LoomItem.from_parent(self, name=item.name, bench=bench, item=item)


class LoomItem(pytest.Item):
    """One test. Its tags are markers."""

    def __init__(self, *, bench: Bench, item: Item, **others: Any) -> None:
        super().__init__(**others)
        self.bench, self.item = bench, item
        for tag in (item.section, *item.tags):
            self.extra_keyword_matches.add(tag)
            if tag.isidentifier():
                self.config.addinivalue_line("markers", f"{tag}: a tag of prompt tests")
                self.add_marker(tag)

    def runtest(self) -> None:
        session = self.config.stash[_SESSION]
        result = session.result(self)
        if not result.passed:
            from loom_dagster.prompt_tests.words import reasons_of

            raise Failed("\n".join(reasons_of(result)))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_: Any) -> str:
        from loom_dagster.errors import LoomError

        if isinstance(excinfo.value, Failed):
            return f"{excinfo.value}\n({self.item.where})"
        if isinstance(excinfo.value, LoomError):
            return _words(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int | None, str]:
        line = self.item.where.rpartition(":")[2]
        return self.path, int(line) - 1 if line.isdigit() else None, self.name


class _Session:
    """What all suites of one process share."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._looms: dict[Path, Loom] = {}
        self._benches: dict[Path, Bench] = {}
        self._coming: dict[str, concurrent.futures.Future[Result]] = {}
        self._items: Sequence[pytest.Item] = ()
        self._done: dict[Path, list[tuple[Item, Result]]] = {}
        self._told: list[dict[str, Any]] = []
        self._lines: list[str] = []
        self._worker = hasattr(config, "workerinput")
        self._shared = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex

    def opened(self, path: Path) -> Bench:
        """The suite at ``path``, for as long as the session lasts. Raises Misconfigured."""
        if path in self._benches:
            return self._benches[path]
        from loom_dagster.assembly import Loom
        from loom_dagster.assembly.answering import BenchOptions
        from loom_dagster.assembly.bench import Bench
        from loom_dagster.settings import find_project

        root = find_project(path.parent)
        if root not in self._looms:
            self._looms[root] = Loom.open(root)
        options = BenchOptions(
            fresh=self._config.getoption("--loom-fresh"),
            record=self._config.getoption("--loom-record"),
            replay=self._config.getoption("--loom-replay"),
            budget=self._config.getoption("--loom-budget"),
            shared=self._shared,
        )
        bench = Bench(self._looms[root], path, options).__enter__()  # left in pytest_sessionfinish
        self._benches[path] = bench
        return bench

    def result(self, item: LoomItem) -> Result:
        """Of one item. Where nothing else decides which ones are run, all of its suite are begun with the first."""
        one_by_one = self._worker or self._config.getoption("maxfail", 0)
        ahead = [item] if one_by_one else [i for i in self._items if isinstance(i, LoomItem)]
        for each in ahead:
            if each.bench is item.bench and each.nodeid not in self._coming:
                self._coming[each.nodeid] = each.bench.submit(each.item)
        result = self._coming[item.nodeid].result()
        self._done.setdefault(item.path, []).append((item.item, result))
        return result

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._items = session.items

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._benches:
            from loom_dagster.assembly.handed_over import handed_over

            for path, bench in self._benches.items():
                self._told.append(handed_over(bench, self._done.get(path, ())))
                bench.close()
            self._benches.clear()
        if self._worker:
            session.config.workeroutput[_OUTPUT] = self._told  # type: ignore[attr-defined]  # xdist's
        elif self._told:
            from loom_dagster.assembly.handed_over import settled

            self._lines = settled(self._told, record=self._config.getoption("--loom-record"))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of xdist has ended; one that crashed hands nothing over."""
        self._told += getattr(node, "workeroutput", {}).get(_OUTPUT, ())

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._lines:
            terminalreporter.section("loom", sep="-")
        for line in self._lines:
            terminalreporter.line(line)


_SESSION = pytest.StashKey[_Session]()


def _words(error: LoomError) -> str:
    problems: Iterable[object] = getattr(error, "problems", ())
    told = [str(problem) for problem in problems]
    return error.sentence() if len(told) < 2 else "\n".join([error.sentence(), *(f"  {one}" for one in told)])
