"""What a project keeps on disk, opened when it is first needed: ledger, releases, answers, a scratch folder."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from loom_dagster.assembly.scratch import scratch_in
from loom_dagster.clock import SystemClock
from loom_dagster.errors import Misconfigured
from loom_dagster.settings import Settings, load_settings
from loom_dagster.spec import Project, load_project

if TYPE_CHECKING:
    from loom_dagster.assembly.plan import Materials
    from loom_dagster.ledger import AnswerLog, Ledger
    from loom_dagster.release import Releases

__all__ = ["State"]


class State:
    """A project, opened, and its ``.loom``."""

    def __init__(self, settings: Settings, project: Project, environ: Mapping[str, str]) -> None:
        self.settings, self.project = settings, project
        self._environ = environ
        self.clock = SystemClock()

    @classmethod
    def open(cls, root: Path, environ: Mapping[str, str] = os.environ) -> Self:
        """The project at ``root``. Raises Misconfigured for bad settings, never for a bad pipeline."""
        settings = load_settings(root, environ)
        return cls(settings, load_project(settings), environ)

    @functools.cached_property
    def ledger(self) -> Ledger:
        from loom_dagster.ledger import Ledger, ledger_address

        self._make_state()
        return Ledger(ledger_address(self.settings))

    @functools.cached_property
    def releases(self) -> Releases:
        from loom_dagster.release import Releases

        return Releases(self.ledger, self.settings.state_dir)

    def answers(self) -> AnswerLog:
        """The answer store, opened; the caller closes it."""
        from loom_dagster.ledger import AnswerLog

        self._make_state()
        return AnswerLog(self.settings.state_dir / "answers.sqlite")

    @contextlib.contextmanager
    def materials(self) -> Iterator[Materials]:
        from loom_dagster.assembly.plan import Materials

        store = self.answers()
        try:
            yield Materials(
                settings=self.settings,
                store=store,
                releases=self.releases,
                clock=self.clock,
                shares=self.ledger.limit_shares,
            )
        finally:
            store.close()

    def scratch(self) -> contextlib.AbstractContextManager[Path]:
        self._make_state()
        return scratch_in(self.settings.state_dir)

    def _make_state(self) -> None:
        state = self.settings.state_dir
        try:
            state.mkdir(parents=True, exist_ok=True)
            ignore_file = state / ".gitignore"
            if not ignore_file.exists():
                ignore_file.write_text("*\n", encoding="utf-8")
        except OSError as error:
            raise Misconfigured(
                "the project's state folder cannot be written",
                where=str(state),
                why=error.strerror or str(error),
            ) from error
