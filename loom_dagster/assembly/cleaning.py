"""``loom clean``: what is old and nobody needs goes, and what goes is written down first.

Safe beside running pipelines: a partition in which a run is going on is left out, and an answer that a run which has not
ended may ask for stays, so that nothing is paid for twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from loom_dagster.assembly.scratch import left_behind
from loom_dagster.ledger import Deed, Selection, Slot, SnapshotRow
from loom_dagster.release import bytes_in, copies, leftovers, remove, unread
from loom_dagster.release.folders import slot as folder_of
from loom_dagster.spec import is_stream, upstream_name

if TYPE_CHECKING:
    from loom_dagster.clock import Clock
    from loom_dagster.ledger import Ledger, Upkeep
    from loom_dagster.settings import Settings
    from loom_dagster.spec import Project

__all__ = ["WHAT", "Cleaning", "Old", "Part", "clean"]

WHAT = ("snapshots", "answers", "runs", "scratch")


class Home(Protocol):
    """What is needed of the project."""

    settings: Settings
    project: Project

    @property
    def clock(self) -> Clock: ...

    @property
    def ledger(self) -> Ledger: ...

    @property
    def upkeep(self) -> Upkeep: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Old:
    """What is to go: of some ``pipelines`` (all), some of ``WHAT``."""

    than: timedelta
    said: str
    pipelines: Sequence[str] = ()
    what: Sequence[str] = WHAT


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """``number`` things of one kind, and about how many bytes they take."""

    what: str
    number: int
    size: int
    pipeline: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaning:
    """What goes, or went; and what was left out, in words."""

    parts: Sequence[Part]
    left_out: Sequence[str]


def clean(home: Home, old: Old, *, do: bool, who: str = "", why: str = "") -> Cleaning:
    """Look what is ``old``, and (``do``) remove it. Raises Misconfigured for a pipeline that nobody knows."""
    known = home.ledger.retention.pipelines()
    for name in old.pipelines:
        if name not in home.project.names and name not in known:
            home.project.pipeline(name)  # raises, with the nearest name
    names = list(old.pipelines) or sorted({*home.project.names, *known})
    deed = Deed(action="clean", who=who, why=why or f"older than {old.said}", detail={"older_than": old.said})
    work = _Work(home, old, names, home.clock.now() - old.than, deed, do=do)
    steps: dict[str, Callable[[], Iterable[Part]]] = {
        "snapshots": work.snapshots,
        "answers": work.answers,
        "runs": work.runs,
        "scratch": work.scratch,
    }
    parts = [part for what in WHAT if what in old.what for part in steps[what]() if part.number]
    return Cleaning(parts=parts, left_out=work.left_out)


@dataclass
class _Work:
    """One look, or one cleaning. ``before``: what is from then on stays."""

    home: Home
    old: Old
    names: Sequence[str]
    before: datetime
    deed: Deed
    do: bool = field(kw_only=True)

    def __post_init__(self) -> None:
        self.left_out: list[str] = []
        self._retention = self.home.ledger.retention
        self._state = self.home.settings.state_dir

    def snapshots(self) -> Iterable[Part]:
        for name in self.names:
            readers = self._readers(name)
            if running := sorted(self._retention.alive() & set(readers)):
                self.left_out.append(f"{name}: {', '.join(running)}, which reads it, is running")
                continue
            slots = self._retention.slots(name)
            for slot in slots:
                if slot.taken:
                    of = f"{name} ({slot.partition})" if slot.partition else name
                    self.left_out.append(f"{of}: a run is going on")
            rows = [row for slot in slots if not slot.taken for row in self._unread(name, slot)]
            folders = [folder_of(self._state, name, row.partition) / row.folder for row in rows]
            left = [path for slot in slots for path in leftovers(self._state, name, slot, self.before)]
            left += copies(self._state, name, self.before)
            number, sizes = len(rows), (bytes_in(folders), bytes_in(left))
            if self.do:
                number = len(self._mark(name, readers))
                for slot in self._retention.slots(name):
                    self._remove(leftovers(self._state, name, slot, self.before))
                self._remove(copies(self._state, name, self.before))
            yield Part(what="snapshots", pipeline=name, number=number, size=sizes[0])
            yield Part(what="leftover folders", pipeline=name, number=len(left), size=sizes[1])

    def _mark(self, name: str, readers: Sequence[str]) -> list[str]:
        def choose(slot: Slot) -> list[str]:
            return [row.run_id for row in self._unread(name, slot)]

        def told(ids: Sequence[str]) -> Deed:
            detail = {**self.deed.detail, "snapshots": len(ids), "runs": list(ids[:100])}
            return replace(self.deed, pipeline=name, subject="snapshots", detail=detail)

        return self._retention.mark(name, choose, told, readers=readers)

    def _unread(self, name: str, slot: Slot) -> list[SnapshotRow]:
        file = self.home.project.files.get(name)
        found = unread(
            slot,
            self.before,
            # of a file that cannot be read nothing is known; what might be needed stays
            stream=is_stream(file.spec.extract.source) if file else name in self.home.project.names,
            abandoned=name not in self.home.project.names and name in self.old.pipelines,
        )
        place = folder_of(self._state, name, slot.partition)
        return [row for row in found if (place / row.folder).is_dir()]

    def _readers(self, name: str) -> list[str]:
        files = self.home.project.files.items()
        return [n for n, file in files if upstream_name(file.spec.extract.source) == name]

    def answers(self) -> Iterable[Part]:
        unfinished = [r for r in self._retention.open_runs() if r.pipeline in self.home.project.names]
        spared = sorted({run.pipeline for run in unfinished})
        started = min((run.started_at.timestamp() for run in unfinished), default=None)
        for name in spared:
            if name in self.names:
                self.left_out.append(f"{name}: its answers stay, as a run of it has not ended")
        wanted = Selection(
            before=self.before.timestamp(),
            pipelines=self.old.pipelines or None,
            spared=spared,
            spared_from=started,
        )
        number, size = self.home.upkeep.meant(wanted)
        if self.do and number:
            self._note("answers", number)
            number = self.home.upkeep.delete(wanted)
            if not self.home.upkeep.shrink(alone=not self._retention.alive()):
                self.left_out.append("the answer store gets smaller when no run is going on")
        yield Part(what="answers", number=number, size=size)

    def runs(self) -> Iterable[Part]:
        number, size = self._retention.samples(self.names, self.before)
        settled = self._retention.resolved(self.names, self.before)
        if self.do and number + settled:
            self._note("runs", number, settled=settled)
            number = self._retention.trim(self.names, self.before)
            settled = self._retention.forget_resolved(self.names, self.before)
        yield Part(what="samples of runs", number=number, size=size)
        yield Part(what="settled quarantine entries", number=settled, size=0)

    def scratch(self) -> Iterable[Part]:
        if self.old.pipelines:  # it is nobody's
            return
        paths = left_behind(self._state, self.before, self.home.ledger.batches.needed())
        part = Part(what="scratch", number=len(paths), size=bytes_in(paths))
        if self.do and paths:
            self._note("scratch", len(paths))
            self._remove(paths)
        yield part

    def _remove(self, paths: Sequence[Path]) -> None:
        self.left_out += [f"{path}: it cannot be removed; see who owns it" for path in remove(paths)]

    def _note(self, what: str, number: int, **more: int) -> None:
        """Before it is done, as it is not all in the ledger."""
        detail = {**self.deed.detail, "pipelines": list(self.old.pipelines), what: number, **more}
        self.home.ledger.audit.note(replace(self.deed, subject=what, detail=detail))
