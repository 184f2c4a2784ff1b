"""How costs are shown: the table of an estimate, and that of what was spent."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from loom_dagster.cli.figures import counted, dollars, release_name, share
from loom_dagster.cli.terminal import Terminal

if TYPE_CHECKING:
    from loom_dagster.assembly.spending import Report
    from loom_dagster.costs import BudgetForecast, Estimate, Forecast, Line, Spent
    from loom_dagster.gateway import Price

__all__ = ["print_csv", "show_forecast", "show_spent"]

_PER = {"run": "a run", "day": "a day (UTC)", "month": "a month (UTC), for the whole project"}
_NUMBERS = (
    "cost",
    "unconfirmed",
    "calls",
    "unpriced",
    "lost",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
)


def show_forecast(found: Forecast, terminal: Terminal) -> None:
    """The page of ``loom cost --dry-run``."""
    line = terminal.line
    line(f"Cost Estimate for: {found.pipeline}{release_name(found.version)}", "bold")
    line()
    line("Input:", "bold")
    if found.partitions:
        several = len(found.partitions) > 1
        line(f"  Partition{'s' if several else ''}: {_span(found.partitions)}")
    rejected = f" ({found.rejected:,} more cannot be read and cost nothing)" if found.rejected else ""
    line(f"  Records: {found.records:,}{rejected}")
    if found.sampled < found.records:
        line(f"  Counted: {found.sampled:,} of them, drawn at random")
    if found.records:
        line(f"  Avg tokens per record: {found.tokens:,.0f}")
    for stage, title in (("transform", "Transform"), ("evaluate", "Evaluate")):
        for each in found.estimate.lines:
            if each.stage == stage and (each.calls or each.free or stage == "transform"):
                line()
                name = each.terms.purpose.partition(":")[2]
                line(f"{title} ({name}):" if name else f"{title}:", "bold")
                _show_line(each, terminal)
    line()
    _show_total(found.estimate, terminal)
    for budget in found.budgets:
        line(_budget(budget))
    _show_others(found, terminal)
    notes = [note for each in (found.estimate, *found.others) for note in each.notes]
    for note in dict.fromkeys((*found.notes, *notes)):
        terminal.paragraph(note, first=f"{terminal.sign('warn')} ", rest="   ")


def _span(keys: Sequence[str]) -> str:
    return ", ".join(keys) if len(keys) <= 4 else f"{len(keys):,}, {keys[0]} to {keys[-1]}"


def _show_line(each: Line, terminal: Terminal) -> None:
    terms = each.terms
    terminal.line(f"  Model: {terms.model} ({_price(terms.price)})")
    free = (
        f" ({round(each.free):,} more are free: answered already, or the same question)" if each.free else ""
    )
    terminal.line(f"  Calls: {round(each.calls):,}{free}")
    if not each.calls:
        return
    cached = f", {share(terms.cached_share, 1)} of it cached by the provider" if terms.cached_share else ""
    terminal.line(f"  Input tokens:  {round(each.input_tokens):,} ({terms.correction.source}{cached})")
    terminal.line(f"  Output tokens: {round(each.output_tokens):,} ({terms.length.source})")
    seen = [a for a in terms.again if a.times]
    if round(each.again) and seen:
        what = ", ".join(f"{share(a.times, a.seen)} {a.what}" for a in seen)
        terminal.line(f"  With {round(each.again):,} further calls: {what}, as before")
    terminal.line(f"  Cost: {_range(each)}")


def _price(price: Price | None) -> str:
    if price is None:
        return "price not known"
    if not price.input and not price.output:
        return "free"
    return f"{_million(price.input)} in, {_million(price.output)} out / 1M tokens"


def _million(usd: float) -> str:
    return (
        f"${usd * 1e6:,.4f}".rstrip("0").rstrip(".")
        if round(usd * 1e6, 2) != usd * 1e6
        else f"${usd * 1e6:,.2f}"
    )


def _range(each: Line | Estimate) -> str:
    if each.cost is None or each.low is None or each.high is None:
        return "not known"
    cost, low, high = _alike(each.cost, each.low, each.high)
    return cost if low == high else f"{cost} ({low} to {high})"


def _alike(*amounts: float) -> Sequence[str]:
    """With as many digits as the first one needs to say something."""
    first = abs(amounts[0])
    digits = 2 if first >= 1 or not first else min(2 - math.floor(math.log10(first)), 12)
    return [f"${amount:,.{digits}f}" for amount in amounts]


def _show_total(each: Estimate, terminal: Terminal) -> None:
    total = "not known" if each.unpriced and not each.cost else _range(each)
    terminal.line(f"Total Estimated Cost: {total}", "bold")
    if each.unpriced:
        terminal.line(f"  without {', '.join(each.unpriced)}, whose price is not known")


def _budget(budget: BudgetForecast) -> str:
    used = f", {dollars(budget.used)} is used already" if budget.used else ""
    over = ""
    if budget.after > budget.limit:
        over = ": it will stop the run" if budget.stops else ": the run will say so and go on"
    elif budget.after_high > budget.limit:
        over = ": it may be too small"
    percent = (
        f"{100 * budget.utilisation:,.0f}% utilized" if budget.utilisation >= 0.01 else "under 1% utilized"
    )
    return f"Budget: {dollars(budget.limit)} {_PER[budget.name]} ({percent}{used}){over}"


def _show_others(found: Forecast, terminal: Terminal) -> None:
    own = found.estimate
    if own.in_batches is None and not found.others:
        return
    if not own.cost and not found.others:
        return
    terminal.line()
    terminal.line("Instead:", "bold")
    rows = []
    if own.in_batches is not None and own.cost:
        rows.append(
            (
                f"{own.model}, prompts through the batch API",
                dollars(own.in_batches),
                _change(own.in_batches, own.cost),
            )
        )
    for each in found.others:
        unknown = bool(each.unpriced)
        price = f"not known: {_tokens(each)}" if unknown else _range(each)
        rows.append((each.model, price, "" if unknown else _change(each.cost, own.cost)))
    terminal.table(rows, indent="  ")


def _tokens(each: Estimate) -> str:
    into, out = (sum(getattr(line, f"{side}_tokens") for line in each.lines) for side in ("input", "output"))
    return f"{into:,.0f} tokens in, {out:,.0f} out"


def _change(cost: float, before: float) -> str:
    if not before:
        return ""
    change = 100 * (cost / before - 1)
    return f"{change:+,.0f}%"


def show_spent(
    report: Report, terminal: Terminal, *, pipeline: str | None, since: date | None, until: date | None
) -> None:
    """The page of ``loom cost``."""
    of = f" by {pipeline}" if pipeline else ""
    when = (f" since {since}" if since else "") + (f" until {until}" if until else "")
    terminal.line(f"Spent{of}{when} (days are UTC's)", "bold")
    terminal.line()
    if not report.rows:
        terminal.line(f"{terminal.sign('none')} Nothing was spent: no model that costs anything was asked")
    else:
        head = (*(name.upper() for name in report.by), "COST", "UNCONFIRMED", "CALLS", "TOKENS IN", "OUT")
        rows = [_row(row.by, row) for row in report.rows]
        if len(rows) > 1:
            rows.append(_row(("total", *[""] * (len(report.by) - 1)), report.total))
        terminal.table(rows, head=head)
    if report.total.lost:
        calls = counted(report.total.lost, "call")
        what = f"of {calls} nobody knows whether they were paid for: {dollars(report.total.unconfirmed)} at most, as unconfirmed"
        terminal.paragraph(what, first=f"{terminal.sign('warn')} ", rest="   ")
    for model, calls_of in report.unpriced.items():
        what = f"{counted(calls_of, 'call')} of {model} cost what nobody knows: declare its price under [tool.loom.prices]"
        terminal.paragraph(what, first=f"{terminal.sign('warn')} ", rest="   ")
    if report.in_flight:
        terminal.line(f"{terminal.sign('none')} In flight: {dollars(report.in_flight)} at most")
    if report.ordered:
        terminal.line(
            f"{terminal.sign('none')} In batches: {dollars(report.ordered)} at most   (loom batches)"
        )


def _row(by: Sequence[str], row: Spent) -> tuple[str, ...]:
    return (
        *by,
        dollars(row.cost) + ("+" if row.unpriced else ""),
        dollars(row.unconfirmed) if row.lost or row.unconfirmed else "-",
        f"{row.calls:,}",
        f"{row.input_tokens:,}",
        f"{row.output_tokens:,}",
    )


def print_csv(report: Report) -> None:
    """Every row, with all its numbers; USD with twelve digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*report.by, *_NUMBERS])
    for row in report.rows:
        money = (f"{row.cost:.12f}", f"{row.unconfirmed:.12f}")
        writer.writerow([*map(_plain, row.by), *money, *(getattr(row, name) for name in _NUMBERS[2:])])
    Terminal(sys.stdout).write(text.getvalue())


def _plain(value: str) -> str:
    """A spreadsheet takes no text for a formula."""
    return f"'{value}" if value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value
