"""Partitions on the command line: one, several, or a range of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from loom_dagster.errors import Misconfigured

if TYPE_CHECKING:
    from datetime import datetime

    from loom_dagster.assembly import Loom
    from loom_dagster.partitions import Partitioning

__all__ = ["Keys", "OneKey", "Range", "check_key", "chosen_keys"]

Keys = Annotated[
    list[str] | None,
    typer.Option("--partition", metavar="KEY", help="The partition to run; repeatable."),
]
Range = Annotated[
    str | None,
    typer.Option(
        "--partitions", metavar="FROM..TO", help="Every partition from one to another; without one, all."
    ),
]
OneKey = Annotated[
    str, typer.Option("--partition", metavar="KEY", help="The partition, if the pipeline has any.")
]


def chosen_keys(
    loom: Loom, names: Sequence[str], keys: Sequence[str], span: str | None, *, everything: bool = False
) -> Mapping[str, Sequence[str]]:
    """By pipeline, the partitions to run in their order; of one without partitions "" alone. Raises Misconfigured,
    before anything runs, for those that are not there; and for a pipeline without any, unless it is one of ``everything``."""
    from loom_dagster.assembly.pieces import chosen_partition

    now, found = loom.clock.now(), dict[str, Sequence[str]]()
    for name in names:
        spec, parts = loom.spec(name), loom.partitions(name)
        if parts is None and everything:
            found[name] = [""]
            continue
        asked = [
            *keys,
            *(_between(parts, span, now, of=name) if parts is not None and span is not None else ()),
        ]
        if parts is None and span is not None:
            asked = [span]  # refused with the rest
        found[name] = [chosen_partition(spec, key, now) for key in dict.fromkeys(asked or [""])]
    return found


def check_key(loom: Loom, name: str, key: str) -> None:
    """Raises Misconfigured for a partition that is not there, and where one is missing. To be asked when nothing of it is
    kept: what an earlier shape of the pipeline has left can still be dealt with."""
    from loom_dagster.assembly.pieces import chosen_partition

    chosen_partition(loom.spec(name), key, loom.clock.now())


def _between(parts: Partitioning, span: str, now: datetime, *, of: str) -> Sequence[str]:
    start, dots, end = span.partition("..")
    if not dots:
        raise Misconfigured(f"--partitions takes FROM..TO, not `{span}`", fix=f"one: --partition {span}")
    known = parts.keys(now)
    for key in filter(None, (start.strip(), end.strip())):
        parts.check(key, now, of=of)
    first = known.index(start.strip()) if start.strip() else 0
    last = known.index(end.strip()) if end.strip() else len(known) - 1
    if first > last:
        raise Misconfigured(f"--partitions {span} goes backwards", fix=f"--partitions {end}..{start}")
    return known[first : last + 1]
