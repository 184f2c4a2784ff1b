"""``loom cost``: what was spent, and with ``--dry-run`` what the next run will cost."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loom_dagster.cli.exits import OK
from loom_dagster.cli.options import AsJson, ProjectDir, open_loom
from loom_dagster.cli.output import emit
from loom_dagster.cli.partitions import Range, chosen_keys
from loom_dagster.cli.run import parameters
from loom_dagster.cli.terminal import Terminal
from loom_dagster.errors import Misconfigured

if TYPE_CHECKING:
    from loom_dagster.assembly import Loom

__all__ = ["cost", "day_of", "wanted"]

_SAMPLE = 10_000  # records that are counted unless more are asked for
_AGO = re.compile(r"(\d+)\s*d(?:ays?)?")
_OF_DRY_RUN = ["--partition", "--partitions", "--model", "--sample", "--param", "--full-refresh"]
_OF_BOOKS = ["--by", "--since", "--until", "--csv"]


By = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WHAT", help="day, week, month, pipeline, stage, model, prompt, run; several with commas."
    ),
]
Since = Annotated[
    str, typer.Option(metavar="DAY", help="From this day on (UTC): 2026-01-31, today, yesterday, or 7d.")
]
Until = Annotated[str, typer.Option(metavar="DAY", help="To this day, which is included.")]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="M", help="What the run would cost with M; repeatable (dry run)."),
]
Counted = Annotated[
    int | None,
    typer.Option(
        min=2, metavar="N", help=f"Count N records, drawn at random (dry run; default {_SAMPLE:,})."
    ),
]
Key = Annotated[
    list[str] | None,
    typer.Option("--partition", metavar="KEY", help="The partition to estimate; repeatable (dry run)."),
]
Param = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="A value for the query; repeatable (dry run).")
]
Anew = Annotated[
    bool, typer.Option("--full-refresh", help="As if an incremental source were read anew (dry run).")
]


def cost(
    name: Annotated[
        str | None, typer.Argument(metavar="PIPELINE", help="One pipeline; default: all.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Estimate the next run. Nothing is asked, nothing is written.")
    ] = False,
    by: By = None,
    since: Since = "",
    until: Until = "",
    models: Models = None,
    sample: Counted = None,
    partition: Key = None,
    partitions: Range = None,
    param: Param = None,
    full_refresh: Anew = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout.")] = False,
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Show what was spent, or with --dry-run what the next run will cost."""
    if dry_run:
        _refuse(
            zip(_OF_BOOKS, (by, since, until, as_csv), strict=True),
            "is of what was spent: leave --dry-run out",
        )
    else:
        given = (partition, partitions, models, sample, param, full_refresh)
        _refuse(zip(_OF_DRY_RUN, given, strict=True), "belongs to --dry-run")
    if as_csv and as_json:
        raise Misconfigured("--csv and --json are two ways to say the same", fix="keep one of them")
    if not dry_run:
        return _spent(open_loom(project), name, by, since, until, as_json=as_json, as_csv=as_csv)
    if name is None:
        raise Misconfigured("a dry run of which pipeline?", fix="loom cost PIPELINE --dry-run")
    from loom_dagster.assembly.estimating import forecast
    from loom_dagster.cli.cost_pages import show_forecast
    from loom_dagster.cli.light import arrow_without_pandas
    from loom_dagster.settings import RunOptions

    loom = open_loom(project)
    loom.spec(name)
    arrow_without_pandas()
    found = forecast(
        loom,
        name,
        options=RunOptions(full_refresh=full_refresh, params=parameters(param or [])),
        partitions=chosen_keys(loom, [name], partition or [], partitions)[name],
        models=list(dict.fromkeys(models or [])),
        most=sample or _SAMPLE,
    )
    if as_json:
        emit(found)
    else:
        show_forecast(found, Terminal(sys.stdout))
    return OK


def _refuse(given: Iterable[tuple[str, object]], why: str) -> None:
    for option, value in given:
        if value:
            raise Misconfigured(f"{option} {why}")


def _spent(
    loom: Loom, name: str | None, by: list[str] | None, since: str, until: str, *, as_json: bool, as_csv: bool
) -> int:
    from loom_dagster.assembly.spending import spending
    from loom_dagster.cli.cost_pages import print_csv, show_spent

    asked = wanted(by or (["pipeline"] if name is None else ["stage", "model"]))
    today = loom.clock.now().astimezone(UTC).date()
    first, last = (day_of(text, option, today) for text, option in ((since, "--since"), (until, "--until")))
    if first is not None and last is not None and first > last:
        raise Misconfigured(f"--since {first} is after --until {last}", fix="swap them")
    if (
        name is not None
        and name not in loom.project.names
        and not loom.ledger.books.rows(["pipeline"], pipeline=name)
    ):
        loom.spec(
            name
        )  # raises, with the nearest name; what has gone from the project may still be in the books
    report = spending(loom, asked, pipeline=name, since=first, until=last)
    if as_json:
        document: dict[str, Any] = {"pipeline": name, "since": first, "until": last, **asdict(report)}
        document["rows"] = [_as_row(asked, row.by) | _numbers(row) for row in report.rows]
        document["total"] = _numbers(report.total)
        emit(document)
    elif as_csv:
        print_csv(report)
    else:
        show_spent(report, Terminal(sys.stdout), pipeline=name, since=first, until=last)
    return OK


def _as_row(by: Sequence[str], values: Sequence[str]) -> dict[str, Any]:
    return dict(zip(by, values, strict=True))


def _numbers(row: Any) -> dict[str, Any]:
    return {field: value for field, value in asdict(row).items() if field != "by"}


def wanted(texts: Sequence[str]) -> list[str]:
    """``["day,model"]`` as ``["day", "model"]``. Raises Misconfigured for what nobody can be asked by."""
    from loom_dagster.costs import BY

    found = [part.strip() for text in texts for part in text.split(",")]
    for part in found:
        if part not in BY:
            near = difflib.get_close_matches(part, BY, n=1)
            raise Misconfigured(
                f"--by takes no `{part}`",
                fix=f"did you mean `{near[0]}`?" if near else f"known: {', '.join(BY)}",
            )
    return list(dict.fromkeys(found))


def day_of(text: str, option: str, today: date) -> date | None:
    """The day that is meant; None for no text. Raises Misconfigured."""
    word = text.strip().lower()
    if not word:
        return None
    if word in ("today", "yesterday"):
        return today - timedelta(days=word == "yesterday")
    try:
        if ago := _AGO.fullmatch(word):
            return today - timedelta(days=int(ago[1]))
        return datetime.fromisoformat(word).date()
    except (ValueError, OverflowError):
        raise Misconfigured(
            f"{option} takes a day, not `{text}`",
            fix=f"{today.isoformat()}, today, yesterday, or 7d for a week ago",
        ) from None
