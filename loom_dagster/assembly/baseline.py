"""What a version is compared with: a run of the pipeline, or the pipeline as it was at a commit."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from loom_dagster.assembly.asking import Asker, asker
from loom_dagster.assembly.baseline_ref import commit_of, of_ref, project_at
from loom_dagster.assembly.prepared import Prepared
from loom_dagster.errors import Misconfigured
from loom_dagster.extract import Redactor, redacted_table
from loom_dagster.gateway import Asks
from loom_dagster.prompt_tests.drawing import Drawn, Row, draw
from loom_dagster.prompt_tests.regression import Sides, asked, recorded
from loom_dagster.prompt_tests.verdicts import Side
from loom_dagster.release import Snapshot, past_ids, past_records
from loom_dagster.settings import RunOptions
from loom_dagster.spec.models import Pipeline

if TYPE_CHECKING:
    import pyarrow as pa

    from loom_dagster.assembly.loom import Loom

__all__ = ["Commit", "Past", "baseline_of", "commit_asker", "past_sides"]

_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A git ``ref`` and what it names."""

    ref: str
    id: str

    def __str__(self) -> str:
        return f"{self.ref} ({self.id[:8]})" if not self.id.startswith(self.ref) else self.id[:8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The rows of a run, drawn, and both sides of a comparison with it."""

    drawn: Drawn
    before: Sides
    after: Sides
    warnings: tuple[str, ...] = ()


def baseline_of(loom: Loom, name: str, said: str) -> Snapshot | Commit:
    """The run (its id, or the beginning of it) or the git ref that ``said`` names. Raises Misconfigured for neither."""
    runs = loom.releases.snapshots(name)
    found = [s for s in runs if s.id == said] or [s for s in runs if len(said) >= 4 and s.id.startswith(said)]
    if len(found) == 1:
        return found[0]
    if found:
        raise Misconfigured(
            f"`{said}` begins the ids of {len(found)} runs of `{name}`", fix="write more of it"
        )
    commit = commit_of(loom.settings.root, said)
    if commit is None:
        newest = ", ".join(s.id for s in runs[:_SHOWN])
        raise Misconfigured(
            f"baseline `{said}` is gone, or never was",
            why=f"it is no run of `{name}` whose records are kept, and no git ref of this project",
            fix=f"runs that are kept: {newest}" if newest else f"`{name}` has no runs: name a git ref, HEAD",
        )
    return Commit(ref=said, id=commit)


def commit_asker(loom: Loom, today: Prepared, commit: Commit, scratch: Path, now: Asker, asks: Asks) -> Asker:
    """The pipeline as it was at ``commit``, to be asked through ``asks``, and judged by the evaluators of ``now``: one
    measure for both. Raises Misconfigured when it cannot be asked."""
    folder = Path(tempfile.mkdtemp(prefix="baseline-", dir=scratch))
    options = RunOptions(offline=today.options.offline)
    try:
        then = project_at(loom, commit.id, folder)
        ready = then.prepared(today.spec.name, options, scratch, validating=True, without=("source",))
        made = asker(ready, asks, loom.clock.now().timestamp())
    except Misconfigured as error:
        raise of_ref(error, commit.ref) from error
    return replace(made, panel=now.panel, judged=now.judged)


def past_sides(
    snapshot: Snapshot, spec: Pipeline, now: Asker, *, size: int, seed: int, redactor: Redactor | None
) -> Past:
    """``size`` records of a run, and what is said to them now. Scores are compared over the evaluators that both have.
    The run may be of a time before anything was redacted: what the pipeline redacts now nobody sees."""
    ids = draw((Row(i, {}) for i in past_ids(snapshot)), size, seed)
    weights = {e.name: e.weight for e in spec.evaluate.evaluators}
    hidden = spec.extract.redact if redactor is not None else ()

    def redact(rows: pa.Table) -> pa.Table:
        return rows if redactor is None else redacted_table(rows, hidden, redactor)

    def shown(record_id: str) -> str:
        """An id that holds what is hidden goes, too."""
        held = {path.partition(".")[0] for path in hidden} & set(spec.extract.key)
        return redactor.text(record_id) if redactor and held and "redacted:" not in record_id else record_id

    found = past_records(snapshot, {row.id for row in ids.rows}, list(weights), redact)
    records = {r.id: replace(r, id=shown(r.id)) for r in found}
    had = {name for record in records.values() for name in record.scores}
    common = {name: weight for name, weight in weights.items() if name in had}
    sides = {
        r.id: Side(passed=r.passed, score=_mean(r.scores, common), output=r.output, reason=r.reason)
        for r in records.values()
    }

    return Past(
        drawn=Drawn(
            rows=[Row(records[row.id].id, records[row.id].columns) for row in ids.rows],
            available=ids.available,
        ),
        before=recorded(sides),
        after=asked(now, score=lambda seen: _mean(seen.scores, common)),
        warnings=tuple(_differences(weights, had)),
    )


def _mean(scores: Mapping[str, float | None], weights: Mapping[str, float]) -> float | None:
    """By weight; one that could not be had counts as 0. None without evaluators."""
    total = sum(weights.values())
    return sum((scores.get(name) or 0.0) * w for name, w in weights.items()) / total if total else None


def _differences(now: Mapping[str, float], had: set[str]) -> Sequence[str]:
    new, gone = sorted(set(now) - had), sorted(had - set(now))
    said = [f"the baseline has no `{name}`: it is left out of the scores" for name in new]
    return said + [f"`{name}` of the baseline is no evaluator any more: it is left out" for name in gone]
