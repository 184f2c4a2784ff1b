"""Loading a released snapshot: what is taken along, and whom it is handed to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from loom_dagster.connectors import Loaded, Mode, Place, Shipment, destination_at
from loom_dagster.errors import Misconfigured, Problem, Transient
from loom_dagster.load.incoming import SnapshotRows
from loom_dagster.spec.models import Load

__all__ = ["check_destination", "load_snapshot"]


def load_snapshot(
    transformed: Path,
    place: Place,
    *,
    load: Load,
    key: tuple[str, ...],
    pipeline: str,
    columns: Sequence[str],
    snapshot: str,
    fingerprint: str,
    partition: str = "",
) -> Loaded:
    """Puts ``columns`` of the table ``transformed`` into the destination. Doing it again changes nothing.

    Raises Misconfigured, before anything is written where it can be known by then, and Transient while the
    destination is away.
    """
    mode: Mode = load.mode or ("upsert" if key else "append")
    if mode == "upsert" and not key:
        raise Misconfigured(
            "`load.mode: upsert` needs a key", fix="set `extract.key`, or append or overwrite"
        )
    shipment = Shipment(
        incoming=SnapshotRows(transformed, columns, key if mode == "upsert" else ()),
        mode=mode,
        key=key,
        pipeline=pipeline,
        snapshot=snapshot,
        fingerprint=fingerprint,
        partition=partition,
    )
    return destination_at(place).load(place, load, shipment)


def check_destination(
    load: Load, place: Place, *, where: Callable[..., str], connections: bool = False
) -> tuple[Problem, ...]:
    """What is wrong with a destination; nothing is written.

    ``where("destination")`` says which line names it. With ``connections`` other machines are asked, too.
    """
    try:
        destination_at(place).check(place, load, reach=connections)
    except (Misconfigured, Transient) as error:
        what = f"{error.what}: {error.why}" if error.why else error.what
        return (Problem(what=what, fix=error.fix, where=where("destination")),)
    return ()
