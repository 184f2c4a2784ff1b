"""The triggers of a project: what is new for a pipeline, and whether it is to be run for that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from loom_dagster.assembly.arrivals import Arrived, Looking, arrived, prompt_version, taken_now
from loom_dagster.assembly.due import Attempt, Due, News, due
from loom_dagster.assembly.identity import code_version, prompt_of
from loom_dagster.assembly.pieces import partitioning_of
from loom_dagster.clock import Clock
from loom_dagster.errors import LoomError
from loom_dagster.ledger import Ledger, RunRow
from loom_dagster.prompts import is_unfinished
from loom_dagster.records import digest
from loom_dagster.release import Releases
from loom_dagster.settings import Settings
from loom_dagster.spec import PipelineFile, Project, read_pipeline, upstream_name

__all__ = ["Triggers"]


def _never(_: str) -> bool:
    return False


class Triggers:
    """Asks sources from outside, and the ledger; starts nothing."""

    def __init__(
        self, project: Project, settings: Settings, ledger: Ledger, releases: Releases, clock: Clock
    ) -> None:
        self._project, self._settings = project, settings
        self._ledger, self._releases, self._clock = ledger, releases, clock

    def source_version(self, name: str) -> str:
        """Equal as long as nothing comes to the source. Raises Misconfigured or Transient."""
        return arrived(self._looking(self._project.pipeline(name), "")).version

    def is_running(self, name: str, partition: str = "") -> bool:
        """Whether a run of the pipeline is alive, whoever started it."""
        return self._ledger.takings.is_running(name, partition)

    def due(
        self, name: str, attempts: Sequence[Attempt] = (), was_canceled: Callable[[str], bool] = _never
    ) -> Due:
        """Whether to run the pipeline for what its trigger watches; of partitions one at a time, the oldest first.
        ``was_canceled``: of a run of Dagster's, whether a person wanted it to end. Raises Misconfigured for what is
        wrong with its file, source or prompt, Transient while the source is away."""
        file = self._file_now(name)
        parts, trigger = partitioning_of(file.spec), file.spec.trigger
        if trigger is None or not trigger.on:
            return Due(
                run=False, why=f"{file.path.name} has no such trigger any more: load the code location again"
            )
        if parts is None:
            return self._due(file, "", attempts, was_canceled)
        found = Due(run=False, why="no partition is complete yet")
        for key in parts.keys(self._clock.now())[-trigger.lookback :]:
            found = self._due(file, key, [a for a in attempts if a.partition == key], was_canceled)
            if found.run:
                return found
        return found

    def scheduled(self, name: str) -> Sequence[str]:
        """What a schedule is to run: "" for a pipeline without partitions, else the complete partitions after the
        newest one that was run, none if there are none; the newest complete one where none was run."""
        file = self._file_now(name)
        parts, trigger = partitioning_of(file.spec), file.spec.trigger
        if parts is None or trigger is None:
            return [""]
        keys = parts.keys(self._clock.now())[-trigger.lookback :]
        ran = [at for at, key in enumerate(keys) if self._releases.latest(name, key) is not None]
        return keys[ran[-1] + 1 :] if ran else keys[-1:]

    def _file_now(self, name: str) -> PipelineFile:
        """As a run that is started now reads it: a code location is loaded once, and each of its runs reads anew."""
        return read_pipeline(self._project.pipeline(name).path, self._settings.root)

    def _due(
        self,
        file: PipelineFile,
        partition: str,
        attempts: Sequence[Attempt],
        was_canceled: Callable[[str], bool],
    ) -> Due:
        name = file.spec.name
        if self.is_running(name, partition):
            return Due(run=False, why="a run is going on; what comes meanwhile is seen after it")
        on = file.spec.trigger.on if file.spec.trigger else ()
        last = self._ledger.takings.newest(name, partition)
        what: list[str] = []
        versions: dict[str, str] = {}
        texts: dict[str, str] = {}
        nothing = "nothing new"
        if "new_data" in on:
            source = arrived(self._looking(file, partition))
            versions["source"] = source.version
            what += _of_source(source, last)
            nothing = f"nothing is there yet: {_shown(file)}" if source.empty else nothing
        if "prompt" in on:
            prompt = prompt_of(file, self._settings)
            versions["prompt"] = prompt_version(prompt)
            texts = {str(text.path): text.digest[:16] for text in prompt.texts}
            known = (last.taken or {}).get("prompt") if last else None
            if known is not None and known != versions["prompt"]:
                if is_unfinished(prompt, self._settings):
                    nothing = f"prompt `{prompt.name}` is being edited; `loom prompts lock` makes it count"
                else:
                    what.append(f"prompt `{prompt.name}` or its contexts were changed")
        news = News(
            state=digest("state:1", versions, partition).hex()[:16],
            code=code_version(file, self._settings),
            what=what,
            nothing=nothing,
            unloaded=self._unloaded(name, partition),
        )
        by = last.dagster_run_id if last else None
        canceled = by is not None and was_canceled(by)
        found = due(news, last, attempts, self._clock.now(), canceled=canceled)
        return replace(found, versions=versions | texts, partition=partition)

    def taken(self, name: str, partition: str = "") -> Mapping[str, Any] | None:
        """The note of a run that is about to open its source; None where no trigger asks for it. What cannot be
        told is left to the run to fail on."""
        file = self._project.pipeline(name)
        if file.spec.trigger is None or not file.spec.trigger.on:
            return None
        try:
            note: dict[str, Any] = {"prompt": prompt_version(prompt_of(file, self._settings))}
            if "new_data" in file.spec.trigger.on:
                note["source"] = taken_now(self._looking(file, partition))
        except LoomError:
            return None
        return note

    def _looking(self, file: PipelineFile, partition: str) -> Looking:
        name, incremental = file.spec.name, file.spec.extract.incremental is not None
        row = self._ledger.watermarks.get(name) if incremental else None
        last = self._ledger.takings.newest(name, partition)
        above = upstream_name(file.spec.extract.source)
        return Looking(
            spec=file.spec,
            partition=partition,
            above=None if above is None else self._project.pipeline(above).spec,
            settings=self._settings,
            releases=self._releases,
            watermark=None if row is None else row.watermark,
            taken=(last.taken or {}).get("source") if last else None,
        )

    def _unloaded(self, name: str, partition: str) -> str:
        """The released batch, if it has records and did not reach its destination."""
        newest = self._releases.released(name, partition)
        if newest is None or newest.loaded_at is not None or newest.counts["passed"] == 0:
            return ""
        return newest.id


def _shown(file: PipelineFile) -> str:
    return file.spec.extract.source.partition("?")[0]


def _of_source(source: Arrived, last: RunRow | None) -> list[str]:
    if not source.new:
        return []
    return ["new data"] if last is not None else ["data that no run has read"]
