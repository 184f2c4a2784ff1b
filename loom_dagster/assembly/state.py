"""What a project consists of and keeps on disk, opened when it is first needed: pipelines, ledger, releases, answers, a
scratch folder."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from loom_dagster.assembly.scratch import scratch_in
from loom_dagster.clock import SystemClock
from loom_dagster.errors import Misconfigured
from loom_dagster.settings import Settings, load_settings
from loom_dagster.spec import Project, load_project

if TYPE_CHECKING:
    from loom_dagster.assembly.batching import Batching
    from loom_dagster.assembly.plan import Materials
    from loom_dagster.assembly.triggers import Triggers
    from loom_dagster.ledger import AnswerPlace, Answers, Ledger, Upkeep
    from loom_dagster.partitions import Partitioning
    from loom_dagster.prompts import TextFile
    from loom_dagster.release import Releases
    from loom_dagster.spec import Pipeline

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

    def names(self) -> list[str]:
        """Every pipeline, also those whose file has problems, sorted."""
        return list(self.project.names)

    @functools.cached_property
    def triggers(self) -> Triggers:
        """Whether a pipeline is due, for those who start it."""
        from loom_dagster.assembly.triggers import Triggers

        return Triggers(self.project, self.settings, self.ledger, self.releases, self.clock)

    @functools.cached_property
    def batching(self) -> Batching:
        """What there is to do with batches that are with a provider."""
        from loom_dagster.assembly.batching import Batching

        return Batching(self)

    def identity(self, name: str) -> tuple[str, Sequence[TextFile]]:
        """The code version, which changes when prompt, contexts, model, parameters or evaluators do, and the files of
        prompt and contexts. Raises Misconfigured."""
        from loom_dagster.assembly.identity import identity_of

        return identity_of(self.project.pipeline(name), self.settings)

    def texts(self, name: str) -> Sequence[TextFile]:
        """The prompt of a pipeline and its contexts, as they are now. Raises Misconfigured."""
        from loom_dagster.assembly.identity import prompt_of

        return prompt_of(self.project.pipeline(name), self.settings).texts

    def spec(self, name: str) -> Pipeline:
        """The pipeline's spec. Raises Misconfigured when its file has problems."""
        return self.project.pipeline(name).spec

    def partitions(self, name: str) -> Partitioning | None:
        """What partitions the pipeline has; None without any. Raises Misconfigured when its file has problems."""
        block = self.spec(name).extract.partitions
        return None if block is None else block.partitioning()

    def _known(self, name: str) -> None:
        if name not in self.project.names:
            self.project.pipeline(name)  # raises, with the nearest name

    @functools.cached_property
    def ledger(self) -> Ledger:
        from loom_dagster.ledger import Ledger, ledger_address

        self._make_state()
        return Ledger(ledger_address(self.settings))

    @functools.cached_property
    def releases(self) -> Releases:
        from loom_dagster.release import Releases

        return Releases(self.ledger, self.settings.state_dir)

    @functools.cached_property
    def answer_place(self) -> AnswerPlace:
        """Where the answers are; nothing is opened."""
        from loom_dagster.ledger import place_of_answers

        return place_of_answers(self.settings)

    def answers(self) -> Answers:
        """The answer store, opened; the caller closes it."""
        self._make_state()
        return self.answer_place.open()

    @property
    def upkeep(self) -> Upkeep:
        """The answer store, as something that is looked after."""
        from loom_dagster.ledger import Upkeep

        return Upkeep(self.answer_place)

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
                book=self.ledger.batches,
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
